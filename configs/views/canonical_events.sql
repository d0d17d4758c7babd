-- Each event once, with the canonical fan of today and the UTC day.
-- ask: SELECT canonical_rover_id, count(*) AS events FROM canonical_events WHERE day = DATE '2026-11-02' GROUP BY canonical_rover_id ORDER BY events DESC, canonical_rover_id LIMIT 20
SELECT
    e.id,
    e.rover_id,
    coalesce(c.canonical_rover_id, e.rover_id) AS canonical_rover_id,
    e.event,
    e.occurred_at,
    CAST(e.occurred_at AS DATE) AS day,
    e.attributes,
    e.device,
    e.emitted_at
FROM fan_track_events AS e
LEFT JOIN canonical_fans AS c ON c.rover_id = e.rover_id
