-- For each message: the number of fans it was sent to, who opened it, and who clicked. Merged fans count as one.
-- `Message Sent` and the like, `messageID` and `campaign` are names of the workspace: change them here if yours differ.
-- ask: SELECT message_id, fans_sent, fans_opened, fans_clicked, CAST(fans_opened AS DOUBLE) / nullif(fans_sent, 0) AS open_rate FROM message_funnel ORDER BY fans_sent DESC, message_id LIMIT 20
SELECT
    element_at(attributes, 'messageID') AS message_id,
    element_at(attributes, 'campaign') AS campaign,
    min(CASE WHEN event = 'Message Sent' THEN occurred_at END) AS first_sent_at,
    count(DISTINCT CASE WHEN event = 'Message Sent' THEN canonical_rover_id END) AS fans_sent,
    count(DISTINCT CASE WHEN event = 'Message Opened' THEN canonical_rover_id END) AS fans_opened,
    count(DISTINCT CASE WHEN event = 'Message Clicked' THEN canonical_rover_id END) AS fans_clicked
FROM canonical_events
WHERE event IN ('Message Sent', 'Message Opened', 'Message Clicked')
GROUP BY element_at(attributes, 'messageID'), element_at(attributes, 'campaign')
