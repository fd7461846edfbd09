-- What the test of the horizon works on, beside the extension.
CREATE TABLE event (id bigint DEFAULT snowflake_next() PRIMARY KEY, what text NOT NULL);
CREATE TRIGGER own_id BEFORE INSERT OR UPDATE OF id ON event FOR EACH ROW EXECUTE FUNCTION snowflake_require_own_id();
CREATE TABLE heartbeat (one integer PRIMARY KEY, h bigint NOT NULL);
INSERT INTO heartbeat VALUES (1, 0);
CREATE TABLE several AS SELECT n FROM generate_series(1, 2000) AS n;
ANALYZE several;

CREATE TABLE cause (n integer);
CREATE FUNCTION effect() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO event (what) VALUES ('deferred');
	RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER effect AFTER INSERT ON cause DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION effect();

CREATE PROCEDURE several_transactions() LANGUAGE plpgsql AS $$
BEGIN
	FOR n IN 1 .. 5 LOOP
		INSERT INTO event (what) VALUES ('procedure');
		PERFORM pg_sleep(random() * 0.005);
		IF random() < 0.3 THEN ROLLBACK; ELSE COMMIT; END IF;
		INSERT INTO event (what) VALUES ('after it');
	END LOOP;
END $$;

CREATE FUNCTION read_on(from_id bigint) RETURNS SETOF bigint LANGUAGE plpgsql AS $$
DECLARE
	h bigint := snowflake_horizon();
BEGIN
	RETURN NEXT h;
	RETURN QUERY SELECT id FROM event WHERE id > from_id AND id <= h;
END $$;
