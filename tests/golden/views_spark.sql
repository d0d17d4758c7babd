-- The canonical fan of each fan that was merged into another, as of today. Chains of merges are followed; cycles are
-- handled. A fan without a row is its own canonical fan. For the members of a cycle, and for all fans that lead to
-- it, it is the smallest id in the cycle. `settled` is false beyond the limits: chains of 16 merges; cycles of 8,
-- with chains of 8 that lead to one. Not recursive, because Spark 3.5 and Athena's views do not support it, and Trino
-- stops at depth 10: one join per merge.
-- ask: SELECT
--   rover_id,
--   canonical_rover_id
-- FROM rover.rover.canonical_fans
-- WHERE
--   NOT settled;
CREATE OR REPLACE VIEW rover.rover.canonical_fans AS
WITH edges AS (
  SELECT
    from_rover_id,
    to_rover_id
  FROM rover.rover.fan_profile_merges
  WHERE
    NOT to_rover_id IS NULL
)
SELECT
  e1.from_rover_id AS rover_id,
  CASE
    WHEN e17.from_rover_id IS NULL
    THEN COALESCE(
      e16.to_rover_id,
      e15.to_rover_id,
      e14.to_rover_id,
      e13.to_rover_id,
      e12.to_rover_id,
      e11.to_rover_id,
      e10.to_rover_id,
      e9.to_rover_id,
      e8.to_rover_id,
      e7.to_rover_id,
      e6.to_rover_id,
      e5.to_rover_id,
      e4.to_rover_id,
      e3.to_rover_id,
      e2.to_rover_id,
      e1.to_rover_id
    )
    ELSE LEAST(
      e8.to_rover_id,
      e9.to_rover_id,
      e10.to_rover_id,
      e11.to_rover_id,
      e12.to_rover_id,
      e13.to_rover_id,
      e14.to_rover_id,
      e15.to_rover_id,
      e16.to_rover_id
    )
  END AS canonical_rover_id,
  e17.from_rover_id IS NULL
  OR e8.to_rover_id IN (
    e9.to_rover_id,
    e10.to_rover_id,
    e11.to_rover_id,
    e12.to_rover_id,
    e13.to_rover_id,
    e14.to_rover_id,
    e15.to_rover_id,
    e16.to_rover_id
  ) AS settled
FROM edges AS e1
LEFT JOIN edges AS e2
  ON e2.from_rover_id = e1.to_rover_id
LEFT JOIN edges AS e3
  ON e3.from_rover_id = e2.to_rover_id
LEFT JOIN edges AS e4
  ON e4.from_rover_id = e3.to_rover_id
LEFT JOIN edges AS e5
  ON e5.from_rover_id = e4.to_rover_id
LEFT JOIN edges AS e6
  ON e6.from_rover_id = e5.to_rover_id
LEFT JOIN edges AS e7
  ON e7.from_rover_id = e6.to_rover_id
LEFT JOIN edges AS e8
  ON e8.from_rover_id = e7.to_rover_id
LEFT JOIN edges AS e9
  ON e9.from_rover_id = e8.to_rover_id
LEFT JOIN edges AS e10
  ON e10.from_rover_id = e9.to_rover_id
LEFT JOIN edges AS e11
  ON e11.from_rover_id = e10.to_rover_id
LEFT JOIN edges AS e12
  ON e12.from_rover_id = e11.to_rover_id
LEFT JOIN edges AS e13
  ON e13.from_rover_id = e12.to_rover_id
LEFT JOIN edges AS e14
  ON e14.from_rover_id = e13.to_rover_id
LEFT JOIN edges AS e15
  ON e15.from_rover_id = e14.to_rover_id
LEFT JOIN edges AS e16
  ON e16.from_rover_id = e15.to_rover_id
LEFT JOIN edges AS e17
  ON e17.from_rover_id = e16.to_rover_id;

-- The fan of each identifier, with the period in which it was valid. After its delete, an identifier has no row. As
-- of the end of a UTC day D: from_day <= D, and until_day > D, or NULL if it is still valid.
-- ask: SELECT
--   identifier_type,
--   identifier_value,
--   rover_id
-- FROM rover.rover.fan_identity_graph_periods
-- WHERE
--   from_day <= CAST('2026-11-02' AS DATE)
--   AND (
--     until_day > CAST('2026-11-02' AS DATE) OR until_day IS NULL
--   )
-- ORDER BY
--   identifier_type NULLS LAST,
--   identifier_value NULLS LAST
-- LIMIT 20;
CREATE OR REPLACE VIEW rover.rover.fan_identity_graph_periods AS
WITH ordered AS (
  SELECT
    id,
    identifier_type,
    identifier_value,
    rover_id,
    operation,
    updated_at AS valid_from,
    LEAD(updated_at) OVER (
      PARTITION BY identifier_type, identifier_value
      ORDER BY updated_at NULLS LAST, id NULLS LAST
    ) AS valid_to
  FROM rover.rover.fan_identity_graph_history
)
SELECT
  id,
  identifier_type,
  identifier_value,
  rover_id,
  valid_from,
  valid_to,
  CAST(TO_UTC_TIMESTAMP(valid_from, CURRENT_TIMEZONE()) AS DATE) AS from_day,
  CAST(TO_UTC_TIMESTAMP(valid_to, CURRENT_TIMEZONE()) AS DATE) AS until_day
FROM ordered
WHERE
  COALESCE(operation, 'upsert') <> 'delete';

-- The fan into which another fan was merged, with the period in which that was its newest merge. As of the end of a
-- UTC day D: from_day <= D, and until_day > D, or NULL if it is still valid.
-- ask: SELECT
--   from_rover_id,
--   to_rover_id
-- FROM rover.rover.fan_profile_merges_periods
-- WHERE
--   from_day <= CAST('2026-11-02' AS DATE)
--   AND (
--     until_day > CAST('2026-11-02' AS DATE) OR until_day IS NULL
--   )
-- ORDER BY
--   from_rover_id NULLS LAST
-- LIMIT 20;
CREATE OR REPLACE VIEW rover.rover.fan_profile_merges_periods AS
WITH ordered AS (
  SELECT
    id,
    from_rover_id,
    to_rover_id,
    merged_at AS valid_from,
    LEAD(merged_at) OVER (PARTITION BY from_rover_id ORDER BY merged_at NULLS LAST, id NULLS LAST) AS valid_to
  FROM rover.rover.fan_profile_merges_history
)
SELECT
  id,
  from_rover_id,
  to_rover_id,
  valid_from,
  valid_to,
  CAST(TO_UTC_TIMESTAMP(valid_from, CURRENT_TIMEZONE()) AS DATE) AS from_day,
  CAST(TO_UTC_TIMESTAMP(valid_to, CURRENT_TIMEZONE()) AS DATE) AS until_day
FROM ordered;

-- Each state of a fan's profile, with the period in which it was valid. Late records are included as if they had been
-- on time. As of the end of a UTC day D: from_day <= D, and until_day > D, or NULL if it is still valid.
-- ask: SELECT
--   rover_id,
--   traits
-- FROM rover.rover.fan_profiles_periods
-- WHERE
--   from_day <= CAST('2026-11-02' AS DATE)
--   AND (
--     until_day > CAST('2026-11-02' AS DATE) OR until_day IS NULL
--   )
-- ORDER BY
--   rover_id NULLS LAST
-- LIMIT 20;
CREATE OR REPLACE VIEW rover.rover.fan_profiles_periods AS
WITH ordered AS (
  SELECT
    id,
    rover_id,
    traits,
    updated_at AS valid_from,
    LEAD(updated_at) OVER (PARTITION BY rover_id ORDER BY updated_at NULLS LAST, id NULLS LAST) AS valid_to
  FROM rover.rover.fan_profiles_history
)
SELECT
  id,
  rover_id,
  traits,
  valid_from,
  valid_to,
  CAST(TO_UTC_TIMESTAMP(valid_from, CURRENT_TIMEZONE()) AS DATE) AS from_day,
  CAST(TO_UTC_TIMESTAMP(valid_to, CURRENT_TIMEZONE()) AS DATE) AS until_day
FROM ordered;

-- All records about a fan, one row each: profiles, identifiers, merges (a row for each of the two fans), events.
-- `details` are the traits, the attributes, or what was added, removed or merged. Filter by one fan, and order by
-- `happened_at`.
-- ask: SELECT
--   happened_at,
--   dataset,
--   what,
--   details
-- FROM rover.rover.fan_story
-- WHERE
--   rover_id = '00000000-0000-0000-0000-000000000000'
-- ORDER BY
--   happened_at NULLS LAST,
--   record_id NULLS LAST,
--   what NULLS LAST;
CREATE OR REPLACE VIEW rover.rover.fan_story AS
SELECT
  rover_id,
  updated_at AS happened_at,
  CAST(TO_UTC_TIMESTAMP(updated_at, CURRENT_TIMEZONE()) AS DATE) AS day,
  'fan_profiles' AS dataset,
  'profile' AS what,
  traits AS details,
  id AS record_id,
  source_file,
  source_line
FROM rover.rover.fan_profiles_history
UNION ALL
SELECT
  rover_id,
  updated_at AS happened_at,
  CAST(TO_UTC_TIMESTAMP(updated_at, CURRENT_TIMEZONE()) AS DATE) AS day,
  'fan_identity_graph' AS dataset,
  'identifier ' || COALESCE(operation, 'upsert') AS what,
  MAP_FROM_ARRAYS(
    ARRAY('identifier_type', 'identifier_value'),
    ARRAY(identifier_type, identifier_value)
  ) AS details,
  id AS record_id,
  source_file,
  source_line
FROM rover.rover.fan_identity_graph_history
UNION ALL
SELECT
  from_rover_id AS rover_id,
  merged_at AS happened_at,
  CAST(TO_UTC_TIMESTAMP(merged_at, CURRENT_TIMEZONE()) AS DATE) AS day,
  'fan_profile_merges' AS dataset,
  'merged into another' AS what,
  MAP_FROM_ARRAYS(ARRAY('from_rover_id', 'to_rover_id'), ARRAY(from_rover_id, to_rover_id)) AS details,
  id AS record_id,
  source_file,
  source_line
FROM rover.rover.fan_profile_merges_history
UNION ALL
SELECT
  to_rover_id AS rover_id,
  merged_at AS happened_at,
  CAST(TO_UTC_TIMESTAMP(merged_at, CURRENT_TIMEZONE()) AS DATE) AS day,
  'fan_profile_merges' AS dataset,
  'took another over' AS what,
  MAP_FROM_ARRAYS(ARRAY('from_rover_id', 'to_rover_id'), ARRAY(from_rover_id, to_rover_id)) AS details,
  id AS record_id,
  source_file,
  source_line
FROM rover.rover.fan_profile_merges_history
WHERE
  NOT to_rover_id IS NULL
UNION ALL
SELECT
  rover_id,
  occurred_at AS happened_at,
  CAST(TO_UTC_TIMESTAMP(occurred_at, CURRENT_TIMEZONE()) AS DATE) AS day,
  'fan_track_events' AS dataset,
  event AS what,
  attributes AS details,
  id AS record_id,
  source_file,
  source_line
FROM rover.rover.fan_track_events;

-- Each record of each dataset, with the time of the last load of its object. To extract new records: keep the
-- greatest loaded_at that you have seen, query later ones, and upsert them by id. A record comes again if its object
-- was replaced. Records that `replay` loads keep the time of their object and are missed; docs/views.md has a way
-- that misses nothing.
-- ask: SELECT
--   dataset,
--   COUNT(*) AS records,
--   MAX(loaded_at) AS watermark
-- FROM rover.rover.loaded_records
-- WHERE
--   loaded_at > CAST('2026-11-24 00:00:00 UTC' AS TIMESTAMP)
-- GROUP BY
--   dataset
-- ORDER BY
--   dataset NULLS LAST;
CREATE OR REPLACE VIEW rover.rover.loaded_records AS
WITH records AS (
  SELECT
    'fan_profiles' AS dataset,
    id,
    rover_id,
    updated_at AS happened_at,
    emitted_at,
    source_file,
    source_line
  FROM rover.rover.fan_profiles_history
  UNION ALL
  SELECT
    'fan_identity_graph' AS dataset,
    id,
    rover_id,
    updated_at AS happened_at,
    emitted_at,
    source_file,
    source_line
  FROM rover.rover.fan_identity_graph_history
  UNION ALL
  SELECT
    'fan_profile_merges' AS dataset,
    id,
    rover_id,
    merged_at AS happened_at,
    emitted_at,
    source_file,
    source_line
  FROM rover.rover.fan_profile_merges_history
  UNION ALL
  SELECT
    'fan_track_events' AS dataset,
    id,
    rover_id,
    occurred_at AS happened_at,
    emitted_at,
    source_file,
    source_line
  FROM rover.rover.fan_track_events
), loads AS (
  SELECT
    dataset,
    key,
    MAX(loaded_at) AS loaded_at
  FROM rover.rover.compactor_files
  GROUP BY
    dataset,
    key
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
JOIN loads AS l
  ON l.dataset = r.dataset AND l.key = r.source_file;

-- Each event once, with the canonical fan of today and the UTC day.
-- ask: SELECT
--   canonical_rover_id,
--   COUNT(*) AS events
-- FROM rover.rover.canonical_events
-- WHERE
--   day = CAST('2026-11-02' AS DATE)
-- GROUP BY
--   canonical_rover_id
-- ORDER BY
--   events DESC,
--   canonical_rover_id NULLS LAST
-- LIMIT 20;
CREATE OR REPLACE VIEW rover.rover.canonical_events AS
SELECT
  e.id,
  e.rover_id,
  COALESCE(c.canonical_rover_id, e.rover_id) AS canonical_rover_id,
  e.event,
  e.occurred_at,
  CAST(TO_UTC_TIMESTAMP(e.occurred_at, CURRENT_TIMEZONE()) AS DATE) AS day,
  e.attributes,
  e.device,
  e.emitted_at
FROM rover.rover.fan_track_events AS e
LEFT JOIN rover.rover.canonical_fans AS c
  ON c.rover_id = e.rover_id;

-- One row for each canonical fan, with its newest traits and all identifiers of it and of the fans merged into it.
-- `identifiers` is a sorted array of strings such as `email: fan@example.com`.
-- ask: SELECT
--   rover_id,
--   TRY_ELEMENT_AT(traits, 'loyaltyTier') AS tier,
--   identifiers
-- FROM rover.rover.current_fans
-- WHERE
--   identifier_count > 1
-- ORDER BY
--   rover_id NULLS LAST
-- LIMIT 20;
CREATE OR REPLACE VIEW rover.rover.current_fans AS
WITH tied AS (
  SELECT
    COALESCE(c.canonical_rover_id, i.rover_id) AS rover_id,
    ARRAY_SORT(COLLECT_LIST(i.identifier_type || ': ' || i.identifier_value)) AS identifiers,
    COUNT(*) AS identifier_count
  FROM rover.rover.fan_identity_graph AS i
  LEFT JOIN rover.rover.canonical_fans AS c
    ON c.rover_id = i.rover_id
  GROUP BY
    COALESCE(c.canonical_rover_id, i.rover_id)
)
SELECT
  p.rover_id,
  p.traits,
  p.updated_at,
  t.identifiers,
  COALESCE(t.identifier_count, 0) AS identifier_count
FROM rover.rover.fan_profiles AS p
LEFT JOIN rover.rover.canonical_fans AS c
  ON c.rover_id = p.rover_id
LEFT JOIN tied AS t
  ON t.rover_id = p.rover_id
WHERE
  COALESCE(c.canonical_rover_id, p.rover_id) = p.rover_id;

-- Fans that were active on each UTC day. A merged fan counts as its canonical fan of today.
-- ask: SELECT
--   day,
--   active_fans,
--   events
-- FROM rover.rover.daily_active_fans
-- WHERE
--   day >= CAST('2026-11-01' AS DATE)
-- ORDER BY
--   day NULLS LAST
-- LIMIT 31;
CREATE OR REPLACE VIEW rover.rover.daily_active_fans AS
SELECT
  day,
  COUNT(DISTINCT canonical_rover_id) AS active_fans,
  COUNT(*) AS events
FROM rover.rover.canonical_events
GROUP BY
  day;

-- For each message: the number of fans it was sent to, who opened it, and who clicked. Merged fans count as one.
-- `Message Sent` and the like, `messageID` and `campaign` are names of the workspace: change them here if yours
-- differ.
-- ask: SELECT
--   message_id,
--   fans_sent,
--   fans_opened,
--   fans_clicked,
--   CAST(fans_opened AS DOUBLE) / NULLIF(fans_sent, 0) AS open_rate
-- FROM rover.rover.message_funnel
-- ORDER BY
--   fans_sent DESC,
--   message_id NULLS LAST
-- LIMIT 20;
CREATE OR REPLACE VIEW rover.rover.message_funnel AS
SELECT
  TRY_ELEMENT_AT(attributes, 'messageID') AS message_id,
  TRY_ELEMENT_AT(attributes, 'campaign') AS campaign,
  MIN(CASE WHEN event = 'Message Sent' THEN occurred_at END) AS first_sent_at,
  COUNT(DISTINCT CASE WHEN event = 'Message Sent' THEN canonical_rover_id END) AS fans_sent,
  COUNT(DISTINCT CASE WHEN event = 'Message Opened' THEN canonical_rover_id END) AS fans_opened,
  COUNT(DISTINCT CASE WHEN event = 'Message Clicked' THEN canonical_rover_id END) AS fans_clicked
FROM rover.rover.canonical_events
WHERE
  event IN ('Message Sent', 'Message Opened', 'Message Clicked')
GROUP BY
  TRY_ELEMENT_AT(attributes, 'messageID'),
  TRY_ELEMENT_AT(attributes, 'campaign');

