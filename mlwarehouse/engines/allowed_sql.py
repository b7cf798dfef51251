"""The functions that strangers' SQL may call, by DuckDB's names: they compute, and see nothing but their arguments.

What is left out on purpose: whatever reads files, settings, variables, catalogs or the environment; what runs SQL that
it gets as text (``query``, ``json_execute_serialized_sql``); what calls functions by a name that it gets as text
(``list_aggregate``); and what tells of rows that a filter has left out (``stats``).
"""

from __future__ import annotations

AGGREGATES = frozenset(
    """
    any_value approx_count_distinct approx_quantile arg_max arg_min array_agg avg bit_and bit_or bit_xor bool_and
    bool_or corr count count_if count_star covar_pop covar_samp entropy favg first fsum geomean group_concat
    histogram kurtosis last list listagg mad max max_by mean median min min_by mode product quantile quantile_cont
    quantile_disc regr_intercept regr_r2 regr_slope skewness stddev stddev_pop stddev_samp string_agg sum var_pop
    var_samp variance
    """.split()
)

WINDOWS = frozenset(
    "cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank row_number".split()
)

NUMBERS = frozenset(
    """
    abs acos asin atan atan2 cbrt ceil ceiling cos degrees even exp factorial floor gcd greatest isfinite isinf
    isnan lcm least ln log log10 log2 mod pi pow power radians random round sign sin sqrt tan trunc
    """.split()
)

TEXT = frozenset(
    """
    ascii chr concat concat_ws contains ends_with format hash ilike_escape instr jaccard jaro_winkler_similarity
    lcase left len length levenshtein like_escape lower lpad ltrim md5 not_ilike_escape not_like_escape octet_length
    position prefix printf regexp_extract regexp_extract_all regexp_full_match regexp_matches regexp_replace
    regexp_split_to_array repeat replace reverse right rpad rtrim sha256 split_part starts_with str_split
    string_split strlen strpos substr substring suffix trim ucase unicode upper
    """.split()
)

TIMES = frozenset(
    """
    age century date_add date_diff date_part date_sub date_trunc datediff datepart datetrunc day dayname dayofmonth
    dayofweek dayofyear decade epoch epoch_ms epoch_ns epoch_us get_current_timestamp hour isodow isoyear last_day
    make_date make_timestamp millisecond minute month monthname now quarter second strftime strptime time_bucket
    timezone to_days to_hours to_microseconds to_milliseconds to_minutes to_months to_seconds to_timestamp to_weeks
    to_years today try_strptime week weekofyear year yearweek
    """.split()
)

NESTED = frozenset(
    """
    array_contains array_extract array_length array_reverse_sort array_slice array_to_string cardinality element_at
    flatten generate_series list_any_value list_apply list_avg list_concat list_contains list_count list_distinct
    list_element list_extract list_filter list_first list_has list_has_all list_has_any list_indexof list_last
    list_max list_median list_min list_position list_reduce list_reverse list_reverse_sort list_slice list_sort
    list_sum list_transform list_unique list_value list_zip map map_entries map_extract map_extract_value
    map_from_entries map_keys map_values range row struct_extract struct_pack unnest
    """.split()
)

JSON = frozenset(
    """
    json_array_length json_contains json_exists json_extract json_extract_path json_extract_path_text
    json_extract_string json_keys json_type json_valid json_value to_json
    """.split()
)

OTHERS = frozenset("coalesce if ifnull nullif typeof constant_or_null".split())

FUNCTIONS = AGGREGATES | WINDOWS | NUMBERS | TEXT | TIMES | NESTED | JSON | OTHERS
"""All functions by name."""

OPERATORS = frozenset("+ - * / // % ** ^ & | ~ << >> || @ ! -> ->> ^@ ~~ !~~ ~~* !~~* ~~~ && @> <@ xor".split())
"""Operators, which DuckDB takes for functions of these names."""

TABLE_FUNCTIONS = frozenset({"generate_series", "range", "unnest"})
"""Functions that make rows, from nothing but their arguments."""

TOO_DEEP = "The question is nested too deeply; write it with common table expressions."
"""What is said where a tree is deeper than Python, or DuckDB, can follow."""

OWN_PREFIX = "mlw_"
"""Names that begin so are ours: a stranger's SQL can't use them."""
