-- purpose: The tags that registered models and their versions have now.
-- grain: One tag of a registered model or of one of its versions.
-- depends: live_registry_events, model_versions
-- column name: The registered model.
-- column version: The version the tag is on; null for a tag of the model itself.
-- column key: The tag's key.
-- column value: The tag's value: the last one set.

WITH folded AS (
    SELECT
        name,
        version,
        key,
        ARG_MAX({'value': value}, seq) AS last_setting
    FROM live_registry_events
    WHERE kind = 'tag_set' AND key IS NOT NULL
    GROUP BY name, version, key
)

SELECT
    folded.name,
    folded.version,
    folded.key,
    folded.last_setting.value AS value
FROM folded
LEFT JOIN model_versions ON folded.name = model_versions.name AND folded.version = model_versions.version
WHERE
    folded.last_setting.value IS NOT NULL
    AND (folded.version IS NULL OR model_versions.version IS NOT NULL)
