-- Each record of each dataset, with the time of the last load of its object. To extract new records: keep the greatest
-- loaded_at that you have seen, query later ones, and upsert them by id. A record comes again if its object was replaced. Records
-- that `replay` loads keep the time of their object and are missed; docs/views.md has a way that misses nothing.
-- ask: SELECT dataset, count(*) AS records, max(loaded_at) AS watermark FROM loaded_records WHERE loaded_at > TIMESTAMP '2026-11-24 00:00:00 UTC' GROUP BY dataset ORDER BY dataset
WITH records AS (
    SELECT 'fan_profiles' AS dataset, id, rover_id, updated_at AS happened_at, emitted_at, source_file, source_line
    FROM fan_profiles_history
    UNION ALL
    SELECT 'fan_identity_graph' AS dataset, id, rover_id, updated_at AS happened_at, emitted_at, source_file, source_line
    FROM fan_identity_graph_history
    UNION ALL
    SELECT 'fan_profile_merges' AS dataset, id, rover_id, merged_at AS happened_at, emitted_at, source_file, source_line
    FROM fan_profile_merges_history
    UNION ALL
    SELECT 'fan_track_events' AS dataset, id, rover_id, occurred_at AS happened_at, emitted_at, source_file, source_line
    FROM fan_track_events
), loads AS (
    SELECT dataset, key, max(loaded_at) AS loaded_at
    FROM compactor_files
    GROUP BY dataset, key
)
SELECT
    r.dataset,
    r.id,
    r.rover_id,
    r.happened_at,
    r.emitted_at,
    l.loaded_at,
    r.source_file,
    r.source_line
FROM records AS r
JOIN loads AS l ON l.dataset = r.dataset AND l.key = r.source_file
