-- The fan into which another fan was merged, with the period in which that was its newest merge.
-- As of the end of a UTC day D: from_day <= D, and until_day > D, or NULL if it is still valid.
-- ask: SELECT from_rover_id, to_rover_id FROM fan_profile_merges_periods WHERE from_day <= DATE '2026-11-02' AND (until_day > DATE '2026-11-02' OR until_day IS NULL) ORDER BY from_rover_id LIMIT 20
WITH ordered AS (
    SELECT
        id,
        from_rover_id,
        to_rover_id,
        merged_at AS valid_from,
        lead(merged_at) OVER (PARTITION BY from_rover_id ORDER BY merged_at, id) AS valid_to
    FROM fan_profile_merges_history
)
SELECT
    id,
    from_rover_id,
    to_rover_id,
    valid_from,
    valid_to,
    CAST(valid_from AS DATE) AS from_day,
    CAST(valid_to AS DATE) AS until_day
FROM ordered
