-- How many fans did something on each UTC day, merged fans counted as the one who stands for them today.
-- ask: SELECT day, active_fans, events FROM daily_active_fans WHERE day >= DATE '2026-11-01' ORDER BY day LIMIT 31
SELECT
    day,
    count(DISTINCT canonical_rover_id) AS active_fans,
    count(*) AS events
FROM canonical_events
GROUP BY day
