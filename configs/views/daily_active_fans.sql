-- Fans that were active on each UTC day. A merged fan counts as its canonical fan of today.
-- ask: SELECT day, active_fans, events FROM daily_active_fans WHERE day >= DATE '2026-11-01' ORDER BY day LIMIT 31
SELECT
    day,
    count(DISTINCT canonical_rover_id) AS active_fans,
    count(*) AS events
FROM canonical_events
GROUP BY day
