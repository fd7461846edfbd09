-- IDs of other systems: the examples that their makers publish
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';

SELECT * FROM snowflake_layout;

SELECT layout, id, d.*
  FROM (VALUES ('discord', 175928847299117063), ('twitter', 1050118621198921728), ('instagram', 11637205501278089),
               ('mastodon', 103270115826048975), ('tsid', 38390726480144748), ('pgedge', 515421582429024256),
               ('sonyflake', (1::bigint << 24) | (2 << 16) | 3), ('cockroachdb', (1::bigint << 15) | 2)) AS ids (layout, id),
       snowflake_decode(id, layout) AS d;

-- the default layout is pgedge's
SELECT count(*) FROM snowflake_next(100) AS id WHERE snowflake_decode(id) = snowflake_decode(id, 'pgedge');

-- the sign bit: part of the time, or unused
SELECT layout, d.*
  FROM unnest(ARRAY['discord', 'instagram', 'mastodon', 'tsid']) AS layout, snowflake_decode(-1, layout) AS d;
SELECT snowflake_decode((-9223372036854775808), 'instagram');
SELECT snowflake_decode(-1, 'cockroachdb');
SELECT snowflake_decode(-1, 'pgedge');
SELECT snowflake_decode(-1, 'sonyflake');
SELECT snowflake_decode(-1, 'twitter');

SELECT snowflake_decode(1, 'friendster');
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_decode(1, '');
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_decode(-1, 'twitter');
\echo :LAST_ERROR_SQLSTATE

SELECT snowflake_decode(NULL, 'twitter') IS NULL AS id, snowflake_decode(1, NULL) IS NULL AS layout;

CREATE ROLE regress_snowflake_user;
SET ROLE regress_snowflake_user;
SELECT count(*) > 0 AS readable FROM snowflake_layout;
RESET ROLE;
DROP ROLE regress_snowflake_user;
