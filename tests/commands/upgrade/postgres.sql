--
-- PostgreSQL database dump
--


-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

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

--
-- Name: unified_push_changes; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.unified_push_changes (
    changes bigint NOT NULL
);


--
-- Name: unified_push_issuers; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.unified_push_issuers (
    key bytea NOT NULL,
    live_until bigint NOT NULL
);


--
-- Name: unified_push_queue; Type: TABLE; Schema: public; Owner: -
--

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
);
ALTER TABLE ONLY public.unified_push_queue ALTER COLUMN payload SET STORAGE EXTERNAL;


--
-- Name: unified_push_queue_number_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.unified_push_queue ALTER COLUMN number ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.unified_push_queue_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: unified_push_registrations; Type: TABLE; Schema: public; Owner: -
--

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
    revoked boolean DEFAULT false NOT NULL
);


--
-- Name: unified_push_registrations_number_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.unified_push_registrations ALTER COLUMN number ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.unified_push_registrations_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: unified_push_revocations; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.unified_push_revocations (
    owner text NOT NULL COLLATE pg_catalog."C",
    application bytea NOT NULL,
    instance bytea NOT NULL,
    at bigint NOT NULL,
    until bigint NOT NULL
);


--
-- Name: unified_push_schema; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.unified_push_schema (
    version integer NOT NULL
);


--
-- Data for Name: unified_push_changes; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.unified_push_changes VALUES (3);


--
-- Data for Name: unified_push_issuers; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.unified_push_issuers VALUES ('\x5da1f06c71e4e7be', 4949528909000);
INSERT INTO public.unified_push_issuers VALUES ('\x43578eee4a1c4112', 4949528909000);


--
-- Data for Name: unified_push_queue; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.unified_push_queue OVERRIDING SYSTEM VALUE VALUES (1, '\xc1cb416a067ad22247550558ef6cefb2', '\xa1df2ed685c00c1390c77bdd63357c54', 'juliet@example.org', '\xd32e704202076e28799a9275f734b16c86ca59497a80c5e2ff199f3dbed9661a', '\x80e6d7164055bd84f4605086f92acdb03f4c2d350f2070545ba3f3aa58ec26be', 'juliet@example.org/phone', '\x6a756c696574406578616d706c652e6f72672f70686f6e65', 1795842509552, 4949442509000, NULL, 2, '\x7468697320776169747320666f722070617365746f2d756e6465722d7468652d70726576696f75732d736563726574', 1795842510145, 3943326158145, 1, 1795842510145, 0, 0);
INSERT INTO public.unified_push_queue OVERRIDING SYSTEM VALUE VALUES (2, '\xd94ae47eec564b1857e75d6aea938519', '\x01cc8644301fa929501877d50a55867e', 'juliet@example.org', '\x51f52bc59eec21cd88e7a2b85be6bdb6fc5cbead849bac4a86560ca3c086fd56', '\x80e6d7164055bd84f4605086f92acdb03f4c2d350f2070545ba3f3aa58ec26be', 'juliet@example.org/phone', '\x6a756c696574406578616d706c652e6f72672f70686f6e65', 1795842509671, 4949442509000, NULL, 2, '\x7468697320776169747320666f722070617365746f', 1795842510161, 3943326158161, 0, NULL, 0, 0);
INSERT INTO public.unified_push_queue OVERRIDING SYSTEM VALUE VALUES (3, '\xeb671d866d8e6d10408f3aa14fd150a9', '\x22d5227c6422c9f4bae4bc3349b08c2b', 'juliet@example.org', '\x56689314dc7af8809fd2543a572fef001a39923e815f0e5f3dba01de890e8b67', '\x80e6d7164055bd84f4605086f92acdb03f4c2d350f2070545ba3f3aa58ec26be', 'juliet@example.org/phone', '\x6a756c696574406578616d706c652e6f72672f70686f6e65', 1795842509820, 4949442509000, NULL, 2, '\x7468697320776169747320666f72206a7774', 1795842510177, 3943326158177, 0, NULL, 0, 0);
INSERT INTO public.unified_push_queue OVERRIDING SYSTEM VALUE VALUES (4, '\x83686d6210565d37b0b7e6541beb1c8a', '\x72629a213fcc77ab1d762bb37260c327', 'juliet@example.org', '\x9eb6320543b4177e688a50ab5955acd95a6ddc63f20d6ef844cbc55f281b9a53', '\x80e6d7164055bd84f4605086f92acdb03f4c2d350f2070545ba3f3aa58ec26be', 'juliet@example.org/phone', '\x6a756c696574406578616d706c652e6f72672f70686f6e65', 1795842509981, 4949442509000, NULL, 2, '\x7468697320776169747320666f722073746f72616765', 1795842510191, 3943326158191, 0, NULL, 0, 0);


--
-- Data for Name: unified_push_registrations; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.unified_push_registrations OVERRIDING SYSTEM VALUE VALUES (1, '\x8580b7cdbc4311eb09e5c975803856691113d2a566c732f6d80381dfaabd3d11', '\x43578eee4a1c4112', '\x851a6aec747b1ca2113c0c8bbecef4f6', 'juliet@example.org', 'juliet@example.org/phone', '\x9eb6320543b4177e688a50ab5955acd95a6ddc63f20d6ef844cbc55f281b9a53', '\x80e6d7164055bd84f4605086f92acdb03f4c2d350f2070545ba3f3aa58ec26be', 1795842509981, 4949442509000, false);
INSERT INTO public.unified_push_registrations OVERRIDING SYSTEM VALUE VALUES (2, '\xae5bfc8e7432156504008788d3a84ae276b9f091ea7cd7ba5f5afc3835b37a75', '\x43578eee4a1c4112', '\x613bbb563c2852fc3162dd66f3e177fd', 'romeo@example.org', 'romeo@example.org/phone', '\xdb945cccccc0da206b0adb4927c0aa44b7d300c96d4f6d0c45f78162e2549ab5', '\xd1447c966b919066e8d6a8d586d7cf159e96ffc0fcdd4d212719844cd0e12ce4', 1795842509990, 4949442509000, true);


--
-- Data for Name: unified_push_revocations; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.unified_push_revocations VALUES ('romeo@example.org', '\x706930571642497b1ba7e2c54f6fa49b4ea41d02643b3c2cd4b4bbc964606dc6', '\xd1447c966b919066e8d6a8d586d7cf159e96ffc0fcdd4d212719844cd0e12ce4', 1795842509688, 4949528909000);
INSERT INTO public.unified_push_revocations VALUES ('romeo@example.org', '\x9753bc0bb37d27b96881a07661bffef5e029b9a14b8a04eacab5d9ac3454610a', '\xd1447c966b919066e8d6a8d586d7cf159e96ffc0fcdd4d212719844cd0e12ce4', 1795842509828, 4949528909000);
INSERT INTO public.unified_push_revocations VALUES ('romeo@example.org', '\xdb945cccccc0da206b0adb4927c0aa44b7d300c96d4f6d0c45f78162e2549ab5', '\xd1447c966b919066e8d6a8d586d7cf159e96ffc0fcdd4d212719844cd0e12ce4', 1795842509990, 4949528909000);


--
-- Data for Name: unified_push_schema; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.unified_push_schema VALUES (1);


--
-- Name: unified_push_queue_number_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.unified_push_queue_number_seq', 4, true);


--
-- Name: unified_push_registrations_number_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.unified_push_registrations_number_seq', 2, true);


--
-- Name: unified_push_issuers unified_push_issuers_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.unified_push_issuers
    ADD CONSTRAINT unified_push_issuers_pkey PRIMARY KEY (key);


--
-- Name: unified_push_queue unified_push_queue_id_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.unified_push_queue
    ADD CONSTRAINT unified_push_queue_id_key UNIQUE (id);


--
-- Name: unified_push_queue unified_push_queue_key_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.unified_push_queue
    ADD CONSTRAINT unified_push_queue_key_key UNIQUE (key);


--
-- Name: unified_push_queue unified_push_queue_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.unified_push_queue
    ADD CONSTRAINT unified_push_queue_pkey PRIMARY KEY (number);


--
-- Name: unified_push_registrations unified_push_registrations_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.unified_push_registrations
    ADD CONSTRAINT unified_push_registrations_pkey PRIMARY KEY (id);


--
-- Name: unified_push_revocations unified_push_revocations_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.unified_push_revocations
    ADD CONSTRAINT unified_push_revocations_pkey PRIMARY KEY (owner, application, instance);


--
-- Name: unified_push_queue_by_endpoint; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX unified_push_queue_by_endpoint ON public.unified_push_queue USING btree (account, application, instance, urgency, arrived, number);


--
-- Name: unified_push_queue_by_expiry; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX unified_push_queue_by_expiry ON public.unified_push_queue USING btree (expires);


--
-- Name: unified_push_queue_by_lease; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX unified_push_queue_by_lease ON public.unified_push_queue USING btree (owner_key, claimed_until) WHERE (claimed_until > 0);


--
-- Name: unified_push_queue_by_owner; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX unified_push_queue_by_owner ON public.unified_push_queue USING btree (owner_key, urgency DESC, arrived, number);


--
-- Name: unified_push_queue_by_topic; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX unified_push_queue_by_topic ON public.unified_push_queue USING btree (account, application, instance, topic) WHERE (topic IS NOT NULL);


--
-- Name: unified_push_registrations_by_expiry; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX unified_push_registrations_by_expiry ON public.unified_push_registrations USING btree (expires);


--
-- Name: unified_push_registrations_by_owner; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX unified_push_registrations_by_owner ON public.unified_push_registrations USING btree (owner, application, instance, expires) WHERE (NOT revoked);


--
-- Name: unified_push_revocations_by_until; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX unified_push_revocations_by_until ON public.unified_push_revocations USING btree (until);


--
-- PostgreSQL database dump complete
--


