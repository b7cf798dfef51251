WITH compared AS (
  WITH given AS (
    SELECT
      model_name,
      model_version,
      model_digest,
      dataset,
      'output' AS kind,
      output AS feature,
      value,
      text,
      event_at
    FROM predictions
    UNION ALL
    SELECT
      model_name,
      model_version,
      model_digest,
      dataset,
      'input' AS kind,
      feature,
      value,
      text,
      event_at
    FROM prediction_inputs
    /* Those of a scoring that was killed have no predictions. */
    WHERE
      writer_id IN (
        SELECT
          predictions.writer_id
        FROM predictions
      )
  ), chosen AS (
    SELECT
      model_name,
      model_version,
      model_digest,
      dataset,
      kind,
      feature,
      text,
      CASE WHEN NOT ISNAN(value) THEN value + 0.0 END AS number, /* Adding zero makes 0 of -0, which are equal and would be ranked apart. */
      CASE $window
        WHEN 'hour'
        THEN DATE_TRUNC('HOUR', event_at)
        WHEN 'day'
        THEN DATE_TRUNC('DAY', event_at)
        WHEN 'week'
        THEN DATE_TRUNC('WEEK', event_at)
        WHEN 'month'
        THEN DATE_TRUNC('MONTH', event_at)
      END AS window_start
    FROM given
    WHERE
      (
        CAST($models AS TEXT[]) IS NULL
        OR ARRAY_CONTAINS(CAST($models AS TEXT[]), model_name)
      )
      AND (
        CAST($features AS TEXT[]) IS NULL
        OR ARRAY_CONTAINS(CAST($features AS TEXT[]), feature)
      )
      AND (
        CAST($datasets AS TEXT[]) IS NULL
        OR ARRAY_CONTAINS(CAST($datasets AS TEXT[]), dataset)
        OR dataset = CAST($reference AS TEXT)
      )
  ), placed AS (
    SELECT
      *,
      CASE
        WHEN NOT CAST($reference AS TEXT) IS NULL
        THEN dataset = CAST($reference AS TEXT)
        ELSE NOT window_start IS NULL
        AND window_start = MIN(window_start) OVER (PARTITION BY model_name, model_version, model_digest, dataset, kind, feature)
      END AS is_reference
    FROM chosen
  ), windows AS (
    SELECT DISTINCT
      model_name,
      model_version,
      model_digest,
      dataset,
      kind,
      feature,
      window_start
    FROM placed
    WHERE
      NOT is_reference
  )
  SELECT
    model_name,
    model_version,
    model_digest,
    dataset,
    kind,
    feature,
    window_start,
    FALSE AS is_reference,
    number,
    text
  FROM placed
  WHERE
    NOT is_reference
  UNION ALL
  SELECT
    windows.model_name,
    windows.model_version,
    windows.model_digest,
    windows.dataset,
    windows.kind,
    windows.feature,
    windows.window_start,
    TRUE AS is_reference,
    placed.number,
    placed.text
  FROM windows
  INNER JOIN placed
    ON windows.model_digest = placed.model_digest
    AND windows.kind = placed.kind
    AND windows.feature = placed.feature
    AND COALESCE(windows.model_name, '') = COALESCE(placed.model_name, '')
    AND COALESCE(windows.model_version, 0) = COALESCE(placed.model_version, 0)
    AND (
      NOT CAST($reference AS TEXT) IS NULL OR windows.dataset = placed.dataset
    )
  WHERE
    placed.is_reference
), places AS (
  SELECT
    model_name,
    model_version,
    model_digest,
    dataset,
    kind,
    feature,
    window_start,
    number,
    FLOOR(
      (
        RANK() OVER (
          PARTITION BY model_name, model_version, model_digest, dataset, kind, feature, window_start
          ORDER BY number
        ) - 1
      ) * CAST(10 AS DOUBLE) / COUNT(*) OVER (
        PARTITION BY model_name, model_version, model_digest, dataset, kind, feature, window_start
      )
    ) + 1 AS place
  FROM compared
  WHERE
    is_reference AND NOT number IS NULL
), deciles /* The largest number of each decile but the last, for which there is no end. */ AS (
  SELECT
    model_name,
    model_version,
    model_digest,
    dataset,
    kind,
    feature,
    window_start,
    MAX(CASE WHEN place = 1 THEN number END) AS e1,
    MAX(CASE WHEN place = 2 THEN number END) AS e2,
    MAX(CASE WHEN place = 3 THEN number END) AS e3,
    MAX(CASE WHEN place = 4 THEN number END) AS e4,
    MAX(CASE WHEN place = 5 THEN number END) AS e5,
    MAX(CASE WHEN place = 6 THEN number END) AS e6,
    MAX(CASE WHEN place = 7 THEN number END) AS e7,
    MAX(CASE WHEN place = 8 THEN number END) AS e8,
    MAX(CASE WHEN place = 9 THEN number END) AS e9
  FROM places
  GROUP BY
    model_name,
    model_version,
    model_digest,
    dataset,
    kind,
    feature,
    window_start
), binned AS (
  SELECT
    compared.model_name,
    compared.model_version,
    compared.model_digest,
    compared.dataset,
    compared.kind,
    compared.feature,
    compared.window_start,
    compared.is_reference,
    CASE
      WHEN NOT compared.text IS NULL
      THEN 'text ' || compared.text
      WHEN compared.number IS NULL
      THEN 'missing'
      ELSE CAST(CASE WHEN compared.number > deciles.e1 THEN 1 ELSE 0 END + CASE WHEN compared.number > deciles.e2 THEN 1 ELSE 0 END + CASE WHEN compared.number > deciles.e3 THEN 1 ELSE 0 END + CASE WHEN compared.number > deciles.e4 THEN 1 ELSE 0 END + CASE WHEN compared.number > deciles.e5 THEN 1 ELSE 0 END + CASE WHEN compared.number > deciles.e6 THEN 1 ELSE 0 END + CASE WHEN compared.number > deciles.e7 THEN 1 ELSE 0 END + CASE WHEN compared.number > deciles.e8 THEN 1 ELSE 0 END + CASE WHEN compared.number > deciles.e9 THEN 1 ELSE 0 END AS TEXT)
    END AS bin
  FROM compared
  LEFT JOIN deciles
    ON compared.model_name IS NOT DISTINCT FROM deciles.model_name
    AND compared.model_version IS NOT DISTINCT FROM deciles.model_version
    AND compared.model_digest = deciles.model_digest
    AND compared.dataset = deciles.dataset
    AND compared.kind = deciles.kind
    AND compared.feature = deciles.feature
    AND compared.window_start IS NOT DISTINCT FROM deciles.window_start
), counted AS (
  SELECT
    model_name,
    model_version,
    model_digest,
    dataset,
    kind,
    feature,
    window_start,
    bin,
    CAST(COUNT(CASE WHEN NOT is_reference THEN 1 END) AS DOUBLE) AS n,
    CAST(COUNT(CASE WHEN is_reference THEN 1 END) AS DOUBLE) AS n_reference
  FROM binned
  GROUP BY
    model_name,
    model_version,
    model_digest,
    dataset,
    kind,
    feature,
    window_start,
    bin
), totals AS (
  SELECT
    *,
    SUM(n) OVER (
      PARTITION BY model_name, model_version, model_digest, dataset, kind, feature, window_start
    ) AS total,
    SUM(n_reference) OVER (
      PARTITION BY model_name, model_version, model_digest, dataset, kind, feature, window_start
    ) AS total_reference
  FROM counted
), shares AS (
  SELECT
    *,
    n / total AS p,
    n_reference / total_reference AS q,
    GREATEST(n / total, 0.0001) AS p_floored,
    GREATEST(n_reference / total_reference, 0.0001) AS q_floored,
    (
      n / total + n_reference / total_reference
    ) / 2 AS middle,
    total * (
      n + n_reference
    ) / (
      total + total_reference
    ) AS wanted,
    total_reference * (
      n + n_reference
    ) / (
      total + total_reference
    ) AS wanted_reference
  FROM totals
  WHERE
    total > 0 AND total_reference > 0
), by_bins AS (
  SELECT
    model_name,
    model_version,
    model_digest,
    dataset,
    kind,
    feature,
    window_start,
    CAST(MAX(total) AS BIGINT) AS n,
    CAST(MAX(total_reference) AS BIGINT) AS n_reference,
    SUM(CASE WHEN bin = 'missing' THEN p ELSE 0 END) AS missing,
    SUM(CASE WHEN bin = 'missing' THEN q ELSE 0 END) AS missing_reference,
    SUM((
      p_floored - q_floored
    ) * LN(p_floored / q_floored)) AS psi,
    SUM(
      CASE WHEN p > 0 THEN p * LN(p / middle) ELSE 0 END + CASE WHEN q > 0 THEN q * LN(q / middle) ELSE 0 END
    ) / (
      2 * LN(CAST(2 AS DOUBLE))
    ) AS divergence,
    SUM(
      (
        n - wanted
      ) * (
        n - wanted
      ) / wanted + (
        n_reference - wanted_reference
      ) * (
        n_reference - wanted_reference
      ) / wanted_reference
    ) AS chi2,
    COUNT(*) - 1 AS chi2_df
  FROM shares
  GROUP BY
    model_name,
    model_version,
    model_digest,
    dataset,
    kind,
    feature,
    window_start
), stepped AS (
  SELECT
    model_name,
    model_version,
    model_digest,
    dataset,
    kind,
    feature,
    window_start,
    number,
    CAST(COUNT(CASE WHEN NOT is_reference THEN 1 END) AS DOUBLE) AS n,
    CAST(COUNT(CASE WHEN is_reference THEN 1 END) AS DOUBLE) AS n_reference
  FROM compared
  WHERE
    NOT number IS NULL
  GROUP BY
    model_name,
    model_version,
    model_digest,
    dataset,
    kind,
    feature,
    window_start,
    number
), summed AS (
  SELECT
    model_name,
    model_version,
    model_digest,
    dataset,
    kind,
    feature,
    window_start,
    number,
    n,
    n_reference,
    SUM(n) OVER (
      PARTITION BY model_name, model_version, model_digest, dataset, kind, feature, window_start
      ORDER BY number
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS below,
    SUM(n_reference) OVER (
      PARTITION BY model_name, model_version, model_digest, dataset, kind, feature, window_start
      ORDER BY number
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS below_reference,
    SUM(n) OVER (
      PARTITION BY model_name, model_version, model_digest, dataset, kind, feature, window_start
    ) AS total,
    SUM(n_reference) OVER (
      PARTITION BY model_name, model_version, model_digest, dataset, kind, feature, window_start
    ) AS total_reference
  FROM stepped
), by_numbers AS (
  SELECT
    model_name,
    model_version,
    model_digest,
    dataset,
    kind,
    feature,
    window_start,
    MAX(ABS(below / NULLIF(total, 0) - below_reference / NULLIF(total_reference, 0))) AS ks,
    SQRT(MAX(total) * MAX(total_reference) / NULLIF(MAX(total) + MAX(total_reference), 0)) AS root,
    SUM(CASE WHEN ABS(number) < CAST('Infinity' AS DOUBLE) THEN n * number END) / NULLIF(SUM(CASE WHEN ABS(number) < CAST('Infinity' AS DOUBLE) THEN n END), 0) AS mean,
    SUM(CASE WHEN ABS(number) < CAST('Infinity' AS DOUBLE) THEN n_reference * number END) / NULLIF(SUM(CASE WHEN ABS(number) < CAST('Infinity' AS DOUBLE) THEN n_reference END), 0) AS mean_reference
  FROM summed
  GROUP BY
    model_name,
    model_version,
    model_digest,
    dataset,
    kind,
    feature,
    window_start
), terms /* Twenty terms of the alternating series are exact to 1e-12 from 0.2 on; below it the chance is 1 to as much. */ AS (
  SELECT
    *,
    -2 * (
      root * ks
    ) * (
      root * ks
    ) AS x
  FROM by_numbers
), tested AS (
  SELECT
    *,
    CASE
      WHEN root * ks < 0.2
      THEN 1.0
      WHEN NOT root * ks IS NULL
      THEN 2 * (
        EXP(x) - EXP(4 * x) + EXP(9 * x) - EXP(16 * x) + EXP(25 * x) - EXP(36 * x) + EXP(49 * x) - EXP(64 * x) + EXP(81 * x) - EXP(100 * x) + EXP(121 * x) - EXP(144 * x) + EXP(169 * x) - EXP(196 * x) + EXP(225 * x) - EXP(256 * x) + EXP(289 * x) - EXP(324 * x) + EXP(361 * x) - EXP(400 * x)
      )
    END AS ks_p_value
  FROM terms
)
SELECT
  by_bins.model_name,
  by_bins.model_version,
  by_bins.model_digest,
  by_bins.dataset,
  by_bins.kind,
  by_bins.feature,
  by_bins.window_start,
  by_bins.n,
  by_bins.n_reference,
  by_bins.missing,
  by_bins.missing_reference,
  tested.mean,
  tested.mean_reference,
  by_bins.psi,
  SQRT(GREATEST(by_bins.divergence, 0.0)) AS js_distance, /* Rounding makes a little less than 0 of nothing. */
  by_bins.chi2,
  by_bins.chi2_df,
  SQRT(by_bins.chi2 / (
    by_bins.n + by_bins.n_reference
  )) AS cramers_v,
  tested.ks,
  tested.ks_p_value,
  CASE
    WHEN by_bins.psi < 0.1
    THEN 'stable'
    WHEN by_bins.psi < 0.25
    THEN 'shifting'
    ELSE 'shifted'
  END AS verdict
FROM by_bins
LEFT JOIN tested
  ON by_bins.model_name IS NOT DISTINCT FROM tested.model_name
  AND by_bins.model_version IS NOT DISTINCT FROM tested.model_version
  AND by_bins.model_digest = tested.model_digest
  AND by_bins.dataset = tested.dataset
  AND by_bins.kind = tested.kind
  AND by_bins.feature = tested.feature
  AND by_bins.window_start IS NOT DISTINCT FROM tested.window_start
ORDER BY
  by_bins.psi DESC,
  by_bins.model_name,
  by_bins.model_version,
  by_bins.model_digest,
  by_bins.dataset,
  by_bins.kind,
  by_bins.feature,
  by_bins.window_start
