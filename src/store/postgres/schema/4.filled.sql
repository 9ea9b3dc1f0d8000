-- A database of schema 4 as `pg_dump --inserts --no-owner` wrote it, with something in each table.

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

SET default_tablespace = '';

SET default_table_access_method = heap;

CREATE TABLE public.unified_push_changes (
    changes bigint NOT NULL
)
WITH (fillfactor='10', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='200');

CREATE TABLE public.unified_push_issuers (
    key bytea NOT NULL,
    live_until bigint NOT NULL
);

CREATE TABLE public.unified_push_queue (
    number bigint NOT NULL,
    key bytea NOT NULL,
    id bytea NOT NULL,
    account text NOT NULL COLLATE pg_catalog."C",
    application bytea NOT NULL,
    instance bytea NOT NULL,
    owner text NOT NULL COLLATE pg_catalog."C",
    owner_key bytea NOT NULL,
    issued bigint NOT NULL,
    registration_expires bigint NOT NULL,
    topic text COLLATE pg_catalog."C",
    urgency smallint NOT NULL,
    payload bytea NOT NULL,
    arrived bigint NOT NULL,
    expires bigint NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    sent bigint,
    held_until bigint NOT NULL,
    claimed_until bigint DEFAULT 0 NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_threshold='1000', autovacuum_vacuum_cost_delay='0', autovacuum_analyze_scale_factor='0.05', autovacuum_analyze_threshold='1000');
ALTER TABLE ONLY public.unified_push_queue ALTER COLUMN payload SET STORAGE EXTERNAL;

ALTER TABLE public.unified_push_queue ALTER COLUMN number ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.unified_push_queue_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.unified_push_registrations (
    number bigint NOT NULL,
    id bytea NOT NULL,
    key bytea NOT NULL,
    generation bytea NOT NULL,
    owner text NOT NULL COLLATE pg_catalog."C",
    jid text NOT NULL COLLATE pg_catalog."C",
    application bytea NOT NULL,
    instance bytea NOT NULL,
    issued bigint NOT NULL,
    expires bigint NOT NULL,
    revoked boolean DEFAULT false NOT NULL,
    signer bytea
);

ALTER TABLE public.unified_push_registrations ALTER COLUMN number ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.unified_push_registrations_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.unified_push_revocations (
    owner text NOT NULL COLLATE pg_catalog."C",
    application bytea NOT NULL,
    instance bytea NOT NULL,
    at bigint NOT NULL,
    until bigint NOT NULL
);

CREATE TABLE public.unified_push_schema (
    version integer NOT NULL
);

INSERT INTO public.unified_push_changes VALUES (4);

INSERT INTO public.unified_push_issuers VALUES ('\x0101010101010101', 1767024000000);
INSERT INTO public.unified_push_issuers VALUES ('\x0202020202020202', 1767024001000);

INSERT INTO public.unified_push_queue OVERRIDING SYSTEM VALUE VALUES (1, '\x01010101010101010101010101010101', '\x02020202020202020202020202020202', 'juliet@example.org', '\x0202020202020202020202020202020202020202020202020202020202020202', '\x0909090909090909090909090909090909090909090909090909090909090909', 'juliet@example.org/balcony', '\x6a756c696574406578616d706c652e6f72672f62616c636f6e79', 1764000001000, 1767024001000, 'mail', 2, '\x6d657373616765', 1764000002000, 1764086402000, 1, 1764000002000, 1764000902000, 0);

INSERT INTO public.unified_push_registrations OVERRIDING SYSTEM VALUE VALUES (1, '\x0101010101010101010101010101010101010101010101010101010101010101', '\x0101010101010101', '\x01010101010101010101010101010101', 'romeo@example.org', 'romeo@example.org/orchard', '\x0101010101010101010101010101010101010101010101010101010101010101', '\x0909090909090909090909090909090909090909090909090909090909090909', 1764000000000, 1767024000000, true, NULL);
INSERT INTO public.unified_push_registrations OVERRIDING SYSTEM VALUE VALUES (2, '\x0202020202020202020202020202020202020202020202020202020202020202', '\x0202020202020202', '\x02020202020202020202020202020202', 'juliet@example.org', 'juliet@example.org/balcony', '\x0202020202020202020202020202020202020202020202020202020202020202', '\x0909090909090909090909090909090909090909090909090909090909090909', 1764000001000, 1767024001000, false, '\x0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a');

INSERT INTO public.unified_push_revocations VALUES ('romeo@example.org', '\x0101010101010101010101010101010101010101010101010101010101010101', '\x0909090909090909090909090909090909090909090909090909090909090909', 1764000005000, 1767024001000);
INSERT INTO public.unified_push_revocations VALUES ('nurse@example.org', '\x', '\x', 1764000006000, 1767024001000);

INSERT INTO public.unified_push_schema VALUES (4);

SELECT pg_catalog.setval('public.unified_push_queue_number_seq', 1, true);

SELECT pg_catalog.setval('public.unified_push_registrations_number_seq', 2, true);

ALTER TABLE ONLY public.unified_push_issuers
    ADD CONSTRAINT unified_push_issuers_pkey PRIMARY KEY (key);

ALTER TABLE ONLY public.unified_push_queue
    ADD CONSTRAINT unified_push_queue_id_key UNIQUE (id);

ALTER TABLE ONLY public.unified_push_queue
    ADD CONSTRAINT unified_push_queue_key_key UNIQUE (key);

ALTER TABLE ONLY public.unified_push_queue
    ADD CONSTRAINT unified_push_queue_pkey PRIMARY KEY (number);

ALTER TABLE ONLY public.unified_push_registrations
    ADD CONSTRAINT unified_push_registrations_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.unified_push_revocations
    ADD CONSTRAINT unified_push_revocations_pkey PRIMARY KEY (owner, application, instance);

CREATE INDEX unified_push_queue_by_endpoint ON public.unified_push_queue USING btree (account, application, instance, urgency, arrived, number);

CREATE INDEX unified_push_queue_by_expiry ON public.unified_push_queue USING btree (expires);

CREATE INDEX unified_push_queue_by_lease ON public.unified_push_queue USING btree (owner_key, claimed_until) WHERE (claimed_until > 0);

CREATE INDEX unified_push_queue_by_owner ON public.unified_push_queue USING btree (owner_key, urgency DESC, arrived, number);

CREATE UNIQUE INDEX unified_push_queue_by_topic ON public.unified_push_queue USING btree (account, application, instance, topic) WHERE (topic IS NOT NULL);

CREATE INDEX unified_push_registrations_by_expiry ON public.unified_push_registrations USING btree (expires);

CREATE INDEX unified_push_registrations_by_owner ON public.unified_push_registrations USING btree (owner, application, instance, expires) WHERE (NOT revoked);

CREATE INDEX unified_push_revocations_by_until ON public.unified_push_revocations USING btree (until);
