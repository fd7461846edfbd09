-- what is in an ID of this server's layout: 41 bits time, 10 worker, 12 sequence
SET timezone = 'UTC';
SET datestyle = 'ISO';

SELECT * FROM snowflake_decode(0);
SELECT * FROM snowflake_decode(1);
SELECT * FROM snowflake_decode(4096);
SELECT * FROM snowflake_decode(4194304);
SELECT * FROM snowflake_decode(9223372036854775807);
SELECT id, snowflake_timestamp(id), snowflake_worker_id(id), snowflake_sequence(id)
  FROM (VALUES (0), ((1 << 22) | (5 << 12) | 9), (515421582429024256)) AS ids (id);

-- an ID that pgEdge's snowflake would make at that time
SELECT (snowflake_decode((1000::bigint << 22) | (1023 << 12) | 4095)).*;

-- a row of a named type: a view can have it as a column
CREATE VIEW decoded AS SELECT 4194304 AS id, snowflake_decode(4194304) AS d, snowflake_decode(1050118621198921728, 'twitter') AS tweet;
SELECT (d).created_at, (d).worker_id, (d).sequence, (tweet).worker_id AS tweeted_by, pg_typeof(d) FROM decoded;
SELECT to_jsonb(d) FROM decoded;
DROP VIEW decoded;

-- sentinels
SELECT id, snowflake_is_valid(id), CASE WHEN snowflake_is_valid(id) THEN snowflake_timestamp(id) END
  FROM unnest('{-9223372036854775808, -1, 0, 1, 4194304, 9223372036854775807, NULL}'::bigint[]) AS id;

-- not IDs
SELECT snowflake_decode(-1);
SELECT snowflake_timestamp(-9223372036854775808);
SELECT snowflake_worker_id(-1);
SELECT snowflake_sequence(-1);

SELECT snowflake_decode(NULL) IS NULL AS decode, snowflake_timestamp(NULL) IS NULL AS timestamp,
       snowflake_worker_id(NULL) IS NULL AS worker_id, snowflake_sequence(NULL) IS NULL AS sequence;

-- the parts make up the whole
SELECT count(*) FROM snowflake_next(1000) AS id, snowflake_decode(id) AS d
 WHERE d.created_at = snowflake_timestamp(id) AND d.worker_id = snowflake_worker_id(id)
   AND d.sequence = snowflake_sequence(id)
   AND id = ((extract(epoch FROM d.created_at - timestamptz '2023-01-01 00:00:00Z') * 1000)::bigint << 22)
            | (d.worker_id << 12) | d.sequence;
