-- IDs of other systems: the examples that their makers publish
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';

SELECT layout, epoch, unit, since, time_exhausted_at FROM snowflake_layouts();
SELECT layout, time_bits, worker_bits, sequence_bits, time_shift, worker_shift, sequence_shift FROM snowflake_layouts();

CREATE TABLE example (layout text, id bigint);
INSERT INTO example VALUES
  ('discord', 175928847299117063), ('twitter', 1050118621198921728), ('instagram', 11637205501278089),
  ('mastodon', 103270115826048975), ('tsid', 38390726480144748), ('pgedge', 515421582429024256),
  ('clickhouse', 7199081390080409600), ('linkedin', 7075043149462556672), ('tiktok', 6854717870488702213),
  ('bluesky', snowflake_from_text('3l25zusnsfctk', 'tid')),
  ('sonyflake', (100000000::bigint << 24) | (2 << 16) | 3), ('sonyflake_v2', 61926663661490740),
  ('cockroachdb', (10000000000000::bigint << 15) | 2);
SELECT layout, id, d.* FROM example, snowflake_decode(id, layout) AS d;

-- the same by where the fields stand
SELECT count(*) FROM example AS e JOIN snowflake_layouts() AS l USING (layout)
 WHERE snowflake_decode(id, layout) = snowflake_decode(id, epoch => epoch, unit => unit, time_bits => time_bits, worker_bits => worker_bits,
         sequence_bits => sequence_bits, time_shift => time_shift, worker_shift => worker_shift, sequence_shift => sequence_shift)
   AND snowflake_min_id('2026-01-01Z', layout) = snowflake_min_id('2026-01-01Z', epoch => epoch, unit => unit, time_bits => time_bits,
         worker_bits => worker_bits, sequence_bits => sequence_bits, time_shift => time_shift, worker_shift => worker_shift, sequence_shift => sequence_shift);

-- the default layout is pgedge's
SELECT count(*) FROM snowflake_next(100) AS id WHERE snowflake_decode(id) = snowflake_decode(id, 'pgedge');

-- the sign bit: part of the time, or unused
SELECT layout, d.*
  FROM unnest(ARRAY['discord', 'instagram', 'mastodon', 'tiktok', 'tsid']) AS layout, snowflake_decode(-1, layout) AS d;
SELECT snowflake_decode((-9223372036854775808), 'instagram');
SELECT snowflake_decode(-1, 'bluesky');
SELECT snowflake_decode(-1, 'cockroachdb');
SELECT snowflake_decode(-1, 'pgedge');
SELECT snowflake_decode(-1, 'sonyflake');
SELECT snowflake_decode(-1, 'twitter');

-- before the first ID of a system: the numbers of a sequence, and those that stand for nothing
SELECT snowflake_decode(20, 'twitter');
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_decode(29700859246, 'twitter');
SELECT snowflake_decode(29700859247, 'twitter');
SELECT layout, snowflake_is_valid(0, layout) AS zero, snowflake_is_valid(2147483647, layout) AS sequence,
       snowflake_is_valid(snowflake_min_id(since, layout), layout) AS first, snowflake_is_valid(snowflake_min_id(since, layout) - 1, layout) AS before
  FROM snowflake_layouts() WHERE layout <> 'twitter';
SELECT layout, snowflake_is_valid(id, layout) FROM example ORDER BY layout;

SELECT snowflake_decode(1, 'friendster');
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_decode(1, '');
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_decode(-1, 'twitter');
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_is_valid(1, 'friendster');
SELECT snowflake_min_id('2026-01-01Z', 'friendster');

SELECT snowflake_decode(NULL, 'twitter') IS NULL AS id, snowflake_decode(1, NULL) IS NULL AS layout,
       snowflake_is_valid(NULL, 'twitter') IS NULL AS valid, snowflake_min_id(NULL, 'twitter') IS NULL AS min_id;

-- the smallest ID of a time
SELECT layout, snowflake_min_id(d.created_at, layout) <= id AS at, snowflake_min_id(d.created_at + interval '1 us', layout) > id AS after,
       (snowflake_decode(snowflake_min_id(d.created_at, layout), layout)).created_at = d.created_at AS same
  FROM example, snowflake_decode(id, layout) AS d ORDER BY layout;
SELECT snowflake_min_id('-infinity', 'twitter'), snowflake_min_id('2006-03-21Z', 'twitter'), snowflake_min_id('2010-11-04 01:42:54.657001Z', 'twitter');
SELECT snowflake_min_id('infinity', 'twitter');
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_min_id('2080-07-11Z', 'twitter');
SELECT snowflake_min_id('294276-12-31 23:59:59Z', 'twitter');
-- where the numbers turn negative there is no bound
SELECT snowflake_min_id('2046-06-27Z', 'instagram');
SELECT snowflake_min_id('2046-06-28Z', 'instagram');

CREATE ROLE regress_snowflake_user;
SET ROLE regress_snowflake_user;
SELECT count(*) > 0 AS readable FROM snowflake_layouts();
RESET ROLE;
DROP ROLE regress_snowflake_user;
DROP TABLE example;
