-- The database in which script/check runs sqlsmith, as the unprivileged role
-- "visitor": tables with every kind of argument that our functions take.
CREATE EXTENSION snowflake;
CREATE ROLE visitor LOGIN;

CREATE TABLE event (
	id bigint DEFAULT snowflake_next() PRIMARY KEY,
	at timestamptz NOT NULL DEFAULT now(),
	worker integer NOT NULL,
	code text NOT NULL,
	layout text NOT NULL);
CREATE TABLE part (LIKE event INCLUDING ALL) PARTITION BY RANGE (id);
CREATE TABLE part_old PARTITION OF part FOR VALUES FROM (MINVALUE) TO (snowflake_min_id('2026-01-01Z'));
CREATE TABLE part_new PARTITION OF part FOR VALUES FROM (snowflake_min_id('2026-01-01Z')) TO (MAXVALUE);

INSERT INTO event (at, worker, code, layout)
SELECT timestamptz '2020-01-01Z' + n * interval '3 days', n * 7, snowflake_to_text(n * 12345678901),
	   (SELECT layout FROM snowflake_layouts() WHERE epoch > '2000-01-01Z' ORDER BY layout OFFSET n % 8 LIMIT 1)
  FROM generate_series(1, 200) AS n;
INSERT INTO event VALUES
	(-1, '-infinity', -1, '', ''), (9223372036854775807, 'infinity', 2147483647, repeat('z', 10000), 'tsid'),
	(-9223372036854775808, '4714-11-24 BC', -2147483648, 'ZZZZZZZZZZZZZ', 'base58');
INSERT INTO part SELECT * FROM event;
CREATE INDEX ON event (snowflake_timestamp(id)) WHERE id >= 0;
GRANT SELECT, INSERT, UPDATE, DELETE ON event, part TO visitor;

-- Functions that sqlsmith calls rarely or never, run on whatever it writes there.
CREATE VIEW taken AS
SELECT id, d.created_at, d.worker_id, d.sequence, o.created_at AS elsewhere, snowflake_worker_id(id) AS worker, snowflake_sequence(id) AS number,
	   snowflake_timestamp(id) AS made_at, snowflake_from_text(snowflake_to_text(id)) AS same, snowflake_last_before(at) AS before,
	   snowflake_max_id(greatest(at, '2023-01-01Z')) AS last, snowflake_min_id(least(at, '2090-01-01Z')) AS first,
	   snowflake_encode(d.created_at, d.worker_id, d.sequence) AS again, snowflake_is_valid(id) AS valid, snowflake_is_valid(id, layout) AS valid_elsewhere,
	   snowflake_min_id(at, layout) AS first_elsewhere, snowflake_decode(id, epoch => at, worker_bits => worker % 32) AS anywhere
  FROM event, snowflake_decode(id) AS d, snowflake_decode(id, layout) AS o WHERE id >= 0;
GRANT SELECT ON taken TO visitor;
ANALYZE;

-- sqlsmith does not know these polymorphic types: most of its queries would fail
-- with an operator or a function that takes one, and never reach ours.
SET allow_system_table_mods = on;
CREATE TEMPORARY VIEW unknown AS
SELECT oid FROM pg_type
 WHERE typname ~ '^any(compatible)?(multi)?range$' OR typname IN ('anyenum', 'cstring', 'point', 'polygon');
DELETE FROM pg_operator WHERE oprleft IN (TABLE unknown) OR oprright IN (TABLE unknown);
DELETE FROM pg_proc WHERE (proargtypes::oid[] && ARRAY(TABLE unknown) OR prorettype IN (TABLE unknown))
   AND oid NOT IN (SELECT unnest(ARRAY[typinput, typoutput, typreceive, typsend, typmodin, typmodout]) FROM pg_type);
DROP VIEW unknown;
