# The daemon's options, as docs/configuration.md has them. What is null is left to the daemon. What
# is missing here is done by module.nix: the files with secrets and the state directory.
{ lib, format }:

let
  inherit (lib) types;

  option =
    type: default: description:
    lib.mkOption { inherit type default description; };
in
{
  freeformType = format.type;

  options = {
    # Made from src/config/options.rs by tests/options.
    acl = option (types.nullOr (types.listOf types.str)) null ''
      Who may register: a domain stands for all its accounts, `"*"` for every account that can reach
      the component. Null stands for the parent domain of `component.domain`. (list of domains, bare
      JIDs or `"*"`)
    '';
    backend = option (types.enum [ "paseto" "jwt" "storage" ]) "paseto" ''
      What endpoint URLs are made of: `paseto` is encrypted and stores nothing, `jwt` is readable
      and works as Prosody's mod_unified_push, `storage` makes random ids and keeps them in the
      store.
    '';
    registration_ttl = option (types.either types.ints.positive types.str) "7d" ''
      How long an endpoint lives; phones renew theirs by themselves. (duration such as `"7d"`, or
      seconds; `"1s"` to `"36500d"`)
    '';
    registration_grace = option (types.either types.ints.positive types.str) "28d" ''
      How much longer than `registration_ttl` an endpoint is accepted, and messages wait: a phone
      that was off when it should have renewed its endpoints comes back to living subscriptions.
      (duration such as `"28d"`, or seconds; `"0s"` to `"366d"`)
    '';
    store = {
      url = option (types.nullOr types.str) null ''
        Where registrations, revocations and waiting messages are kept: `sqlite` in `state_dir`, for
        one daemon; `postgres://` in a database that several daemons may share. Null stands for
        `"sqlite"`. A URL with a password belongs into the file that
        {option}`services.unified-push.store.urlFile` names. (`"sqlite"` or
        `"postgres://USER:PASSWORD@HOST/DATABASE"`)
      '';
    };
    component = {
      domain = option (types.nullOr types.str) null ''
        The component's name, as in the XMPP server's configuration. Required. (domain)
      '';
      host = option types.str "127.0.0.1" ''
        Where the XMPP server listens for components. (host name or address, without the port)
      '';
      port = option types.port 5347 ''
        The port on which it listens for them.
      '';
    };
    http = {
      listen = option types.str "127.0.0.1:8080" ''
        Where application servers are served, usually behind a proxy that adds TLS. systemd listens
        there, so any port and any path will do. (`"ADDRESS:PORT"` or `"unix:/PATH"`)
      '';
      public_url = option (types.nullOr types.str) null ''
        What endpoint URLs start with; may have a path. Null stands for `https://` and
        `component.domain`. (`https://` URL of at most 200 bytes, in ASCII, without query and
        fragment)
      '';
      require_ttl = option types.bool false ''
        Whether a push without a `TTL` header is refused with 400, as RFC 8030 §5.2 wants.
      '';
      trusted_proxies = option (types.listOf types.str) [ "127.0.0.0/8" "::1" ] ''
        Whose `X-Forwarded-For` is believed. (list of addresses and networks such as `"10.0.0.0/8"`)
      '';
    };
    admin = {
      listen = option types.str "127.0.0.1:8081" ''
        Where `/metrics`, `/healthz` and `/readyz` are served. Not for the public. (`"ADDRESS:PORT"`
        or `"unix:/PATH"`)
      '';
    };
    delivery = {
      ack_timeout = option (types.either types.ints.positive types.str) "1s" ''
        How long a push waits for the phone's acknowledgement before it is kept. (duration such as
        `"800ms"`, or seconds; `"1ms"` to `"5s"`)
      '';
      default_ttl = option (types.either types.ints.positive types.str) "1d" ''
        The time to live of a push whose sender names none; at most `delivery.max_ttl`. (duration
        such as `"1d"`, or seconds; at least `"1s"`)
      '';
      max_ttl = option (types.either types.ints.positive types.str) "28d" ''
        The longest time to live. A sender that asks for more is told the shorter one. (duration
        such as `"28d"`, or seconds; at least `"1s"`)
      '';
      max_queued_per_endpoint = option types.ints.positive 100 ''
        Messages of one endpoint that wait for the phone. Beyond it the oldest of the lowest urgency
        gives way.
      '';
      max_queued_per_jid = option types.ints.positive 1000 ''
        Messages of one account that wait for its phones. More get 503 with `Retry-After`.
      '';
      max_queued_bytes = option (types.either types.ints.positive types.str) "1GiB" ''
        All messages that wait. More get 503 with `Retry-After`. (size such as `"1GiB"`, or bytes;
        at least `"1MiB"`)
      '';
    };
    limits = {
      endpoint_rate = option types.str "5/s, burst 120" ''
        Pushes to one endpoint. More get 503 with `Retry-After`. (rate such as `"5/s, burst 120"`;
        units `s`, `min`, `h`, `d`)
      '';
      client_guess_rate = option types.str "1/s, burst 30" ''
        Requests with made-up endpoints from one client address (IPv6: one /64). More get 429. (rate
        such as `"1/s, burst 30"`; units `s`, `min`, `h`, `d`)
      '';
      registrations_per_jid = option types.ints.positive 200 ''
        Endpoints of one account that live at a time, where they are known (`backend = "storage"`).
      '';
      registration_rate = option types.str "1/s, burst 60" ''
        Registrations of one account. (rate such as `"1/s, burst 60"`; units `s`, `min`, `h`, `d`)
      '';
      in_flight_memory = option (types.either types.ints.positive types.str) "64MiB" ''
        Pushes that wait for an acknowledgement, all together. More get 503 with `Retry-After`.
        (size such as `"64MiB"`, or bytes; at least `"64KiB"`)
      '';
      connections = option types.ints.positive 10000 ''
        Open HTTP connections.
      '';
    };
    log = {
      level = option (types.enum [ "error" "warn" "info" "debug" "trace" ]) "info" ''
        How much is logged. JIDs appear from `debug` on; secrets, endpoints and contents never.
      '';
      format = option (types.enum [ "text" "json" ]) "text" ''
        How it is written. With `text` under systemd, the journal gets the fields.
      '';
    };
    # End of what is made.
  };
}
