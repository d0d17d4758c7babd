-- The canonical fan of each fan that was merged into another, as of today. Chains of merges are followed; cycles are handled.
-- A fan without a row is its own canonical fan. For the members of a cycle, and for all fans that lead to it, it is the
-- smallest id in the cycle. `settled` is false beyond the limits: chains of 16 merges; cycles of 8, with chains of 8 that lead
-- to one. Not recursive, because Spark 3.5 and Athena's views do not support it, and Trino stops at depth 10: one join per merge.
-- ask: SELECT rover_id, canonical_rover_id FROM canonical_fans WHERE NOT settled
WITH edges AS (
    SELECT from_rover_id, to_rover_id
    FROM fan_profile_merges
    WHERE to_rover_id IS NOT NULL
)
SELECT
    e1.from_rover_id AS rover_id,
    CASE
        WHEN e17.from_rover_id IS NULL THEN coalesce(
            e16.to_rover_id, e15.to_rover_id, e14.to_rover_id, e13.to_rover_id, e12.to_rover_id,
            e11.to_rover_id, e10.to_rover_id, e9.to_rover_id, e8.to_rover_id, e7.to_rover_id, e6.to_rover_id,
            e5.to_rover_id, e4.to_rover_id, e3.to_rover_id, e2.to_rover_id, e1.to_rover_id
        )
        ELSE least(
            e8.to_rover_id, e9.to_rover_id, e10.to_rover_id, e11.to_rover_id, e12.to_rover_id, e13.to_rover_id,
            e14.to_rover_id, e15.to_rover_id, e16.to_rover_id
        )
    END AS canonical_rover_id,
    e17.from_rover_id IS NULL OR e8.to_rover_id IN (
        e9.to_rover_id, e10.to_rover_id, e11.to_rover_id, e12.to_rover_id, e13.to_rover_id, e14.to_rover_id,
        e15.to_rover_id, e16.to_rover_id
    ) AS settled
FROM edges AS e1
LEFT JOIN edges AS e2 ON e2.from_rover_id = e1.to_rover_id
LEFT JOIN edges AS e3 ON e3.from_rover_id = e2.to_rover_id
LEFT JOIN edges AS e4 ON e4.from_rover_id = e3.to_rover_id
LEFT JOIN edges AS e5 ON e5.from_rover_id = e4.to_rover_id
LEFT JOIN edges AS e6 ON e6.from_rover_id = e5.to_rover_id
LEFT JOIN edges AS e7 ON e7.from_rover_id = e6.to_rover_id
LEFT JOIN edges AS e8 ON e8.from_rover_id = e7.to_rover_id
LEFT JOIN edges AS e9 ON e9.from_rover_id = e8.to_rover_id
LEFT JOIN edges AS e10 ON e10.from_rover_id = e9.to_rover_id
LEFT JOIN edges AS e11 ON e11.from_rover_id = e10.to_rover_id
LEFT JOIN edges AS e12 ON e12.from_rover_id = e11.to_rover_id
LEFT JOIN edges AS e13 ON e13.from_rover_id = e12.to_rover_id
LEFT JOIN edges AS e14 ON e14.from_rover_id = e13.to_rover_id
LEFT JOIN edges AS e15 ON e15.from_rover_id = e14.to_rover_id
LEFT JOIN edges AS e16 ON e16.from_rover_id = e15.to_rover_id
LEFT JOIN edges AS e17 ON e17.from_rover_id = e16.to_rover_id
