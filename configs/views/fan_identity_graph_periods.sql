-- The fan of each identifier, with the period in which it was valid. After its delete, an identifier has no row.
-- As of the end of a UTC day D: from_day <= D, and until_day > D, or NULL if it is still valid.
-- ask: SELECT identifier_type, identifier_value, rover_id FROM fan_identity_graph_periods WHERE from_day <= DATE '2026-11-02' AND (until_day > DATE '2026-11-02' OR until_day IS NULL) ORDER BY identifier_type, identifier_value LIMIT 20
WITH ordered AS (
    SELECT
        id,
        identifier_type,
        identifier_value,
        rover_id,
        operation,
        updated_at AS valid_from,
        lead(updated_at) OVER (PARTITION BY identifier_type, identifier_value ORDER BY updated_at, id) AS valid_to
    FROM fan_identity_graph_history
)
SELECT
    id,
    identifier_type,
    identifier_value,
    rover_id,
    valid_from,
    valid_to,
    CAST(valid_from AS DATE) AS from_day,
    CAST(valid_to AS DATE) AS until_day
FROM ordered
WHERE coalesce(operation, 'upsert') <> 'delete'
