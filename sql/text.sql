-- IDs as text
SELECT name, snowflake_to_text(id) AS base32, snowflake_to_text(id, 'base58') AS base58
  FROM (VALUES ('least', 0), ('greatest', 9223372036854775807), ('tsid-creator''s', 38390726480144748),
               ('this server''s', 515421582429024256)) AS ids (name, id);
SELECT snowflake_from_text('0123456789ABC'), snowflake_from_text('oi23456789abc'), snowflake_from_text('OL23456789ABC'),
       snowflake_from_text('NQm6nKp8qFC', 'base58'), snowflake_from_text(encoding => 'base58', value => '11111111121');

-- those of Bluesky, which are not ours
SELECT snowflake_from_text('3l25zusnsfctk', 'tid'), snowflake_from_text('2222222222222', 'tid'), snowflake_to_text(1765551611692032816, 'tid');
SELECT snowflake_from_text('3l25zusnsfctk');
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_from_text('3jzfcijpj2z2a');
SELECT snowflake_from_text('3ku2345672345');
SELECT snowflake_from_text('3L25ZUSNSFCTK', 'tid');
SELECT snowflake_from_text('c222222222222', 'tid');
-- one that nothing gives away
SELECT snowflake_timestamp(snowflake_from_text('3kabcdefghjkm')) > '2040-01-01Z' AS far;

-- round trip, and in the same order, in every bytewise collation
WITH ids AS (
  SELECT (('x' || md5(i::text))::bit(64)::bigint & 9223372036854775807) >> (i % 63) AS id FROM generate_series(1, 20000) AS i
), texts AS (
  SELECT id, encoding, snowflake_to_text(id, encoding) AS text FROM ids, (VALUES ('base32'), ('base58'), ('tid')) AS e (encoding)
)
SELECT encoding, count(*), count(*) FILTER (WHERE snowflake_from_text(text, encoding) = id) AS same,
       min(length(text)), max(length(text)),
       array_agg(id ORDER BY id, text) = array_agg(id ORDER BY text COLLATE "C", id) AS sorted
  FROM texts GROUP BY encoding ORDER BY encoding;

-- malformed, too short, too long, too great
SELECT snowflake_from_text('');
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_from_text('0123456789AB');
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_from_text('0123456789ABCD');
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_from_text('0123-45678-AB');
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_from_text('U123456789ABC');
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_from_text(' 123456789ABC');
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_from_text('0123456789AB=');
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_from_text('8000000000000');
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_from_text('ZZZZZZZZZZZZZ');
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_from_text('1111111111', 'base58');
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_from_text('1111111111l', 'base58');
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_from_text('NQm6nKp8qFD', 'base58');
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_from_text('zzzzzzzzzzz', 'base58');
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_from_text('0123456789ABC', 'base64');
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_to_text(1, 'Base32');
\echo :LAST_ERROR_SQLSTATE
SELECT snowflake_to_text(-1);
\echo :LAST_ERROR_SQLSTATE

SELECT snowflake_to_text(NULL) IS NULL AS id, snowflake_to_text(1, NULL) IS NULL AS encoding,
       snowflake_from_text(NULL) IS NULL AS value;
