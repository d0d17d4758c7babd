-- Each state of a fan's profile, with the period in which it was valid. Late records are included as if they had been on time.
-- As of the end of a UTC day D: from_day <= D, and until_day > D, or NULL if it is still valid.
-- ask: SELECT rover_id, traits FROM fan_profiles_periods WHERE from_day <= DATE '2026-11-02' AND (until_day > DATE '2026-11-02' OR until_day IS NULL) ORDER BY rover_id LIMIT 20
WITH ordered AS (
    SELECT
        id,
        rover_id,
        traits,
        updated_at AS valid_from,
        lead(updated_at) OVER (PARTITION BY rover_id ORDER BY updated_at, id) AS valid_to
    FROM fan_profiles_history
)
SELECT
    id,
    rover_id,
    traits,
    valid_from,
    valid_to,
    CAST(valid_from AS DATE) AS from_day,
    CAST(valid_to AS DATE) AS until_day
FROM ordered
