-- One row for each canonical fan, with its newest traits and all identifiers of it and of the fans merged into it.
-- `identifiers` is a sorted array of strings such as `email: fan@example.com`.
-- ask: SELECT rover_id, element_at(traits, 'loyaltyTier') AS tier, identifiers FROM current_fans WHERE identifier_count > 1 ORDER BY rover_id LIMIT 20
WITH tied AS (
    SELECT
        coalesce(c.canonical_rover_id, i.rover_id) AS rover_id,
        array_sort(array_agg(i.identifier_type || ': ' || i.identifier_value)) AS identifiers,
        count(*) AS identifier_count
    FROM fan_identity_graph AS i
    LEFT JOIN canonical_fans AS c ON c.rover_id = i.rover_id
    GROUP BY coalesce(c.canonical_rover_id, i.rover_id)
)
SELECT
    p.rover_id,
    p.traits,
    p.updated_at,
    t.identifiers,
    coalesce(t.identifier_count, 0) AS identifier_count
FROM fan_profiles AS p
LEFT JOIN canonical_fans AS c ON c.rover_id = p.rover_id
LEFT JOIN tied AS t ON t.rover_id = p.rover_id
WHERE coalesce(c.canonical_rover_id, p.rover_id) = p.rover_id
