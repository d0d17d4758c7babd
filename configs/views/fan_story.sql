-- All records about a fan, one row each: profiles, identifiers, merges (a row for each of the two fans), events. `details` are
-- the traits, the attributes, or what was added, removed or merged. Filter by one fan, and order by `happened_at`.
-- ask: SELECT happened_at, dataset, what, details FROM fan_story WHERE rover_id = '00000000-0000-0000-0000-000000000000' ORDER BY happened_at, record_id, what
SELECT
    rover_id,
    updated_at AS happened_at,
    CAST(updated_at AS DATE) AS day,
    'fan_profiles' AS dataset,
    'profile' AS what,
    traits AS details,
    id AS record_id,
    source_file,
    source_line
FROM fan_profiles_history
UNION ALL
SELECT
    rover_id,
    updated_at AS happened_at,
    CAST(updated_at AS DATE) AS day,
    'fan_identity_graph' AS dataset,
    'identifier ' || coalesce(operation, 'upsert') AS what,
    map(ARRAY['identifier_type', 'identifier_value'], ARRAY[identifier_type, identifier_value]) AS details,
    id AS record_id,
    source_file,
    source_line
FROM fan_identity_graph_history
UNION ALL
SELECT
    from_rover_id AS rover_id,
    merged_at AS happened_at,
    CAST(merged_at AS DATE) AS day,
    'fan_profile_merges' AS dataset,
    'merged into another' AS what,
    map(ARRAY['from_rover_id', 'to_rover_id'], ARRAY[from_rover_id, to_rover_id]) AS details,
    id AS record_id,
    source_file,
    source_line
FROM fan_profile_merges_history
UNION ALL
SELECT
    to_rover_id AS rover_id,
    merged_at AS happened_at,
    CAST(merged_at AS DATE) AS day,
    'fan_profile_merges' AS dataset,
    'took another over' AS what,
    map(ARRAY['from_rover_id', 'to_rover_id'], ARRAY[from_rover_id, to_rover_id]) AS details,
    id AS record_id,
    source_file,
    source_line
FROM fan_profile_merges_history
WHERE to_rover_id IS NOT NULL
UNION ALL
SELECT
    rover_id,
    occurred_at AS happened_at,
    CAST(occurred_at AS DATE) AS day,
    'fan_track_events' AS dataset,
    event AS what,
    attributes AS details,
    id AS record_id,
    source_file,
    source_line
FROM fan_track_events
