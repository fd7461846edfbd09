-- snowflake_status: state of the generator
SET timezone = 'UTC';
SET datestyle = 'ISO';
SELECT worker_id, worker_source, state, id_bits, worker_bits, sequence_bits, epoch, time_exhausted_at
  FROM snowflake_status();

-- what is counted
SELECT snowflake_status_reset();
SELECT ids_issued FROM snowflake_status();
SELECT count(snowflake_next()) FROM generate_series(1, 10);
SELECT ids_issued FROM snowflake_status();
SELECT count(id) FROM snowflake_next(1000) AS id;
-- a batch on a busy machine may leave the rest of a stale chunk
SELECT ids_issued BETWEEN 1010 AND 2500 AS batch FROM snowflake_status();

-- where the generator is
SELECT snowflake_next() AS id \gset
SELECT last_id = :id AS last_id, last_id_at = snowflake_timestamp(:id) AS last_id_at,
       lead BETWEEN '0' AND '5s' AS lead, max_lead BETWEEN lead AND '5s' AS max_lead,
       window_until > last_id_at AS window, window_until <= mark AS mark, horizon_lag BETWEEN '0' AND '1min' AS horizon_lag,
       mark <= clock_timestamp() + '6s' AS not_too_far
  FROM snowflake_status();

-- the keeper, and what did not happen
SELECT keeper_pid > 0 AS keeper, keeper_error IS NULL AS no_error, keeper_error_at IS NULL AS no_error_at,
       lease_error IS NULL AND lease_error_at IS NULL AS no_lease_error,
       clock_steps_back, largest_step_back, last_step_back_at, stats_reset <= now() AS reset
  FROM snowflake_status();
SELECT keeper_waits >= 0 AND clock_waits >= 0 AND keeper_wait_time >= 0 AND clock_wait_time >= 0 AS waits
  FROM snowflake_status();

-- what others see and may do
CREATE ROLE regress_snowflake_user;
SET ROLE regress_snowflake_user;
SELECT worker_id, ids_issued > 0 AS issued, last_id, last_id_at, lease_error, lease_error_at, keeper_error, keeper_error_at FROM snowflake_status();
SELECT snowflake_status_reset();
RESET ROLE;
GRANT pg_read_all_stats TO regress_snowflake_user;
SET ROLE regress_snowflake_user;
SELECT last_id IS NOT NULL AS last_id FROM snowflake_status();
SELECT snowflake_status_reset();
RESET ROLE;
GRANT pg_monitor TO regress_snowflake_user;
SET ROLE regress_snowflake_user;
SELECT snowflake_status_reset();
SELECT max_lead, ids_issued FROM snowflake_status();
RESET ROLE;
DROP ROLE regress_snowflake_user;
