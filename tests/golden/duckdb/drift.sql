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
  )
  SELECT
    model_name,
    model_version,
    model_digest,
    CASE WHEN CAST($reference AS TEXT) IS NULL THEN dataset ELSE '' END AS reference_of,
    dataset,
    kind,
    feature,
    window_start,
    is_reference,
    number,
    text
  FROM placed
), places AS (
  SELECT
    model_name,
    model_version,
    model_digest,
    reference_of,
    kind,
    feature,
    number,
    FLOOR(
      (
        RANK() OVER (
          PARTITION BY model_name, model_version, model_digest, reference_of, kind, feature
          ORDER BY number
        ) - 1
      ) * CAST(10 AS DOUBLE) / COUNT(*) OVER (
        PARTITION BY model_name, model_version, model_digest, reference_of, kind, feature
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
    reference_of,
    kind,
    feature,
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
    reference_of,
    kind,
    feature
), binned AS (
  SELECT
    compared.model_name,
    compared.model_version,
    compared.model_digest,
    compared.reference_of,
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
    AND compared.reference_of = deciles.reference_of
    AND compared.kind = deciles.kind
    AND compared.feature = deciles.feature
), reference_bins AS (
  SELECT
    model_name,
    model_version,
    model_digest,
    reference_of,
    kind,
    feature,
    bin,
    CAST(COUNT(*) AS DOUBLE) AS n
  FROM binned
  WHERE
    is_reference
  GROUP BY
    model_name,
    model_version,
    model_digest,
    reference_of,
    kind,
    feature,
    bin
), window_bins AS (
  SELECT
    model_name,
    model_version,
    model_digest,
    reference_of,
    dataset,
    kind,
    feature,
    window_start,
    bin,
    CAST(COUNT(*) AS DOUBLE) AS n
  FROM binned
  WHERE
    NOT is_reference
  GROUP BY
    model_name,
    model_version,
    model_digest,
    reference_of,
    dataset,
    kind,
    feature,
    window_start,
    bin
), windows AS (
  SELECT DISTINCT
    model_name,
    model_version,
    model_digest,
    reference_of,
    dataset,
    kind,
    feature,
    window_start
  FROM window_bins
), counted AS (
  SELECT
    model_name,
    model_version,
    model_digest,
    reference_of,
    dataset,
    kind,
    feature,
    window_start,
    bin,
    n,
    CAST(0 AS DOUBLE) AS n_reference
  FROM window_bins
  UNION ALL
  SELECT
    windows.model_name,
    windows.model_version,
    windows.model_digest,
    windows.reference_of,
    windows.dataset,
    windows.kind,
    windows.feature,
    windows.window_start,
    reference_bins.bin,
    CAST(0 AS DOUBLE) AS n,
    reference_bins.n AS n_reference
  FROM windows
  INNER JOIN reference_bins
    ON windows.model_name IS NOT DISTINCT FROM reference_bins.model_name
    AND windows.model_version IS NOT DISTINCT FROM reference_bins.model_version
    AND windows.model_digest = reference_bins.model_digest
    AND windows.reference_of = reference_bins.reference_of
    AND windows.kind = reference_bins.kind
    AND windows.feature = reference_bins.feature
), summed AS (
  SELECT
    model_name,
    model_version,
    model_digest,
    reference_of,
    dataset,
    kind,
    feature,
    window_start,
    bin,
    SUM(n) AS n,
    SUM(n_reference) AS n_reference
  FROM counted
  GROUP BY
    model_name,
    model_version,
    model_digest,
    reference_of,
    dataset,
    kind,
    feature,
    window_start,
    bin
), totals AS (
  SELECT
    *,
    SUM(n) OVER (
      PARTITION BY model_name, model_version, model_digest, reference_of, dataset, kind, feature, window_start
    ) AS total,
    SUM(n_reference) OVER (
      PARTITION BY model_name, model_version, model_digest, reference_of, dataset, kind, feature, window_start
    ) AS total_reference
  FROM summed
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
    reference_of,
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
    reference_of,
    dataset,
    kind,
    feature,
    window_start
), reference_numbers AS (
  SELECT
    model_name,
    model_version,
    model_digest,
    reference_of,
    kind,
    feature,
    number,
    CAST(COUNT(CASE WHEN is_reference THEN 1 END) AS DOUBLE) AS n
  FROM compared
  WHERE
    NOT number IS NULL
  GROUP BY
    model_name,
    model_version,
    model_digest,
    reference_of,
    kind,
    feature,
    number
), reference_steps AS (
  SELECT
    *,
    SUM(n) OVER (
      PARTITION BY model_name, model_version, model_digest, reference_of, kind, feature
      ORDER BY number
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS below,
    SUM(n) OVER (
      PARTITION BY model_name, model_version, model_digest, reference_of, kind, feature
    ) AS total
  FROM reference_numbers
), reference_means AS (
  SELECT
    model_name,
    model_version,
    model_digest,
    reference_of,
    kind,
    feature,
    SUM(CASE WHEN ABS(number) < CAST('Infinity' AS DOUBLE) THEN n * number END) / NULLIF(SUM(CASE WHEN ABS(number) < CAST('Infinity' AS DOUBLE) THEN n END), 0) AS mean
  FROM reference_numbers
  GROUP BY
    model_name,
    model_version,
    model_digest,
    reference_of,
    kind,
    feature
), window_numbers AS (
  SELECT
    model_name,
    model_version,
    model_digest,
    reference_of,
    dataset,
    kind,
    feature,
    window_start,
    number,
    CAST(COUNT(*) AS DOUBLE) AS n
  FROM compared
  WHERE
    NOT is_reference AND NOT number IS NULL
  GROUP BY
    model_name,
    model_version,
    model_digest,
    reference_of,
    dataset,
    kind,
    feature,
    window_start,
    number
), window_steps AS (
  SELECT
    *,
    SUM(n) OVER (
      PARTITION BY model_name, model_version, model_digest, reference_of, dataset, kind, feature, window_start
      ORDER BY number
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS below,
    SUM(n) OVER (
      PARTITION BY model_name, model_version, model_digest, reference_of, dataset, kind, feature, window_start
    ) AS total
  FROM window_numbers
), by_numbers /* Between two of the window's numbers its function stays and the reference's only rises: the largest difference is at */ /* one of the window's numbers, or just below one. */ AS (
  SELECT
    window_steps.model_name,
    window_steps.model_version,
    window_steps.model_digest,
    window_steps.reference_of,
    window_steps.dataset,
    window_steps.kind,
    window_steps.feature,
    window_steps.window_start,
    MAX(
      GREATEST(
        ABS(
          window_steps.below / window_steps.total - reference_steps.below / NULLIF(reference_steps.total, 0)
        ),
        ABS(
          (
            window_steps.below - window_steps.n
          ) / window_steps.total - (
            reference_steps.below - reference_steps.n
          ) / NULLIF(reference_steps.total, 0)
        )
      )
    ) AS ks,
    SQRT(
      MAX(window_steps.total) * MAX(reference_steps.total) / (
        MAX(window_steps.total) + MAX(reference_steps.total)
      )
    ) AS root,
    SUM(
      CASE
        WHEN ABS(window_steps.number) < CAST('Infinity' AS DOUBLE)
        THEN window_steps.n * window_steps.number
      END
    ) / NULLIF(
      SUM(
        CASE
          WHEN ABS(window_steps.number) < CAST('Infinity' AS DOUBLE)
          THEN window_steps.n
        END
      ),
      0
    ) AS mean
  FROM window_steps
  INNER JOIN reference_steps
    ON window_steps.model_name IS NOT DISTINCT FROM reference_steps.model_name
    AND window_steps.model_version IS NOT DISTINCT FROM reference_steps.model_version
    AND window_steps.model_digest = reference_steps.model_digest
    AND window_steps.reference_of = reference_steps.reference_of
    AND window_steps.kind = reference_steps.kind
    AND window_steps.feature = reference_steps.feature
    AND window_steps.number = reference_steps.number
  GROUP BY
    window_steps.model_name,
    window_steps.model_version,
    window_steps.model_digest,
    window_steps.reference_of,
    window_steps.dataset,
    window_steps.kind,
    window_steps.feature,
    window_steps.window_start
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
  reference_means.mean AS mean_reference,
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
  AND by_bins.reference_of = tested.reference_of
  AND by_bins.dataset = tested.dataset
  AND by_bins.kind = tested.kind
  AND by_bins.feature = tested.feature
  AND by_bins.window_start IS NOT DISTINCT FROM tested.window_start
LEFT JOIN reference_means
  ON by_bins.model_name IS NOT DISTINCT FROM reference_means.model_name
  AND by_bins.model_version IS NOT DISTINCT FROM reference_means.model_version
  AND by_bins.model_digest = reference_means.model_digest
  AND by_bins.reference_of = reference_means.reference_of
  AND by_bins.kind = reference_means.kind
  AND by_bins.feature = reference_means.feature
ORDER BY
  by_bins.psi DESC,
  by_bins.model_name,
  by_bins.model_version,
  by_bins.model_digest,
  by_bins.dataset,
  by_bins.kind,
  by_bins.feature,
  by_bins.window_start
