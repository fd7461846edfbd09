-- What the horizon is measured on: see horizon.sh.
CREATE EXTENSION snowflake;
CREATE TABLE h_snowflake (id bigint DEFAULT snowflake_next() PRIMARY KEY, note text NOT NULL);
CREATE TABLE h_identity (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text NOT NULL);
CREATE TABLE h_xid8 (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text NOT NULL, xid xid8 NOT NULL DEFAULT pg_current_xact_id());
CREATE INDEX ON h_xid8 (xid, id);
CREATE TABLE lag (n integer, ms double precision);

-- Each look is a transaction of its own, with a snapshot of its own.
CREATE PROCEDURE look(looks integer) LANGUAGE plpgsql AS $$
DECLARE
	h bigint;
BEGIN
	FOR n IN 1 .. looks LOOP
		h := snowflake_horizon();
		INSERT INTO lag VALUES (n, extract(epoch FROM clock_timestamp() - snowflake_timestamp(h)) * 1000);
		COMMIT;
		PERFORM pg_sleep(0.002);
	END LOOP;
END $$;
