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
      Who may register. A domain stands for all its accounts, `"*.example.org"` for the accounts of
      all domains below that one, and `"*"` for every account that can reach the component. Null
      stands for the parent domain of `component.domain`. (list of domains, `"*.example.org"`, bare
      JIDs or `"*"`)
    '';
    backend = option (types.enum [ "paseto" "jwt" "storage" ]) "paseto" ''
      What new endpoint URLs are made of. With `paseto`, they are encrypted and nothing is stored.
      With `jwt`, they have the format of Prosody's mod_unified_push. With `storage`, they are
      random ids, which are kept in the store.
    '';
    registration_ttl = option (types.either types.ints.positive types.str) "7d" ''
      How long an endpoint lives. Phones renew their endpoints by themselves. (duration such as
      `"7d"`, or a number of seconds; from `"1s"` to `"36500d"`)
    '';
    registration_grace = option (types.either types.ints.positive types.str) "28d" ''
      For how long after `registration_ttl` an endpoint is still accepted and its messages are kept.
      A phone that was off when it should have renewed its endpoints then finds its subscriptions
      alive. (duration such as `"28d"`, or a number of seconds; from `"0s"` to `"366d"`)
    '';
    vapid = option (types.enum [ "off" "registered" "required" ]) "registered" ''
      What to do about the signatures of application servers (VAPID). With `registered`, an endpoint
      that was registered with an application server's public key takes only messages signed by that
      key. With `required`, nothing is registered without a key. With `off`, keys and signatures are
      ignored.
    '';
    import = option (types.nullOr (types.listOf (types.attrsOf types.str))) null ''
      Other push servers whose endpoints are accepted here, each with the key that its endpoints
      depend on, as that server writes it. docs/moving.md shows where to find it. Use `key_file`:
      only root has to be able to read the file. (list of tables with `kind` (`"prosody-paseto"`,
      `"prosody-jwt"`, `"up"`, `"ejabberd"`) and `key_file` or `key`)
    '';
    store = {
      url = option (types.nullOr types.str) null ''
        Where registrations, revocations and waiting messages are kept. `sqlite` keeps them in
        `state_dir`, for one daemon. A `postgres://` URL names a database, which several daemons can
        share. Null stands for `"sqlite"`. A URL with a password belongs in the file that
        {option}`services.unified-push.store.urlFile` names. (`"sqlite"` or
        `"postgres://USER:PASSWORD@HOST/DATABASE"`)
      '';
      connections = option types.ints.positive 6 ''
        How many connections to PostgreSQL one daemon has at most.
      '';
      require_synchronous = option types.bool false ''
        Whether the daemon refuses to start on a PostgreSQL without synchronous standbys, whose
        failover may lose messages that were accepted.
      '';
    };
    component = {
      domain = option (types.nullOr types.str) null ''
        The component's name, exactly as in the XMPP server's configuration. Required. (domain)
      '';
      host = option types.str "127.0.0.1" ''
        The host or the Unix socket on which the XMPP server listens for components. (host name or
        address, without the port, or `"unix:/PATH"`)
      '';
      port = option types.port 5347 ''
        The port on which the XMPP server listens for components.
      '';
      tls = option types.bool false ''
        Whether the link is encrypted with TLS from its first byte, and the server's certificate is
        verified. The server's listener must be set likewise, in ejabberd by `tls: true`.
      '';
      tls_ca_file = option (types.nullOr types.str) null ''
        The file with the certificates (PEM) of the authorities that may have signed the server's
        certificate. Without it, those of the system may. (path)
      '';
      tls_name = option (types.nullOr types.str) null ''
        The name that the server's certificate must be made out to, often the XMPP domain. Null
        stands for `component.host`. (host name or address, without the port)
      '';
    };
    http = {
      listen = option types.str "127.0.0.1:8080" ''
        Where the daemon listens for application servers, usually behind a reverse proxy that adds
        TLS. systemd listens there, so any port and any path will do. (`"ADDRESS:PORT"` or
        `"unix:/PATH"`)
      '';
      public_url = option (types.nullOr types.str) null ''
        The URL that all endpoint URLs begin with. It may have a path. Null stands for `https://`
        and `component.domain`. (`https://` URL of at most 200 bytes, in ASCII, without a query or
        fragment)
      '';
      require_ttl = option types.bool false ''
        Whether a push without a `TTL` header is refused with 400, as RFC 8030 §5.2 requires.
      '';
      trusted_proxies = option (types.listOf types.str) [ "127.0.0.0/8" "::1" ] ''
        The reverse proxies whose `X-Forwarded-For` header is trusted. (list of addresses and
        networks such as `"10.0.0.0/8"`)
      '';
    };
    admin = {
      listen = option types.str "127.0.0.1:8081" ''
        Where the daemon serves `/metrics`, `/healthz` and `/readyz`. Do not expose this address to
        the public. (`"ADDRESS:PORT"` or `"unix:/PATH"`)
      '';
    };
    delivery = {
      ack_timeout = option (types.either types.ints.positive types.str) "1s" ''
        How long a push waits for the phone's acknowledgement before it is stored. (duration such as
        `"800ms"`, or a number of seconds; from `"1ms"` to `"5s"`)
      '';
      default_ttl = option (types.either types.ints.positive types.str) "1d" ''
        The time to live of a push whose sender does not ask for one. It cannot exceed
        `delivery.max_ttl`. (duration such as `"1d"`, or a number of seconds; at least `"1s"`)
      '';
      max_ttl = option (types.either types.ints.positive types.str) "28d" ''
        The longest time to live. If a sender asks for more, the answer tells it the shorter one.
        (duration such as `"28d"`, or a number of seconds; at least `"1s"`)
      '';
      min_ttl = option (types.either types.ints.positive types.str) "0s" ''
        The shortest time to live. Several libraries for application servers ask for a TTL of 0
        unless they are told otherwise, and such a message is lost if the phone is away. With
        `"10min"` it is kept for ten minutes, and the answer tells its sender so. (duration such as
        `"10min"`, or a number of seconds; from `"0s"` to `"28d"`)
      '';
      min_ttl_urgency = option (types.enum [ "very-low" "low" "normal" "high" ]) "very-low" ''
        The lowest urgency to which `delivery.min_ttl` applies. With `"high"`, it applies to urgent
        messages alone.
      '';
      max_queued_per_endpoint = option types.ints.positive 100 ''
        How many messages for one endpoint can wait for the phone. When one more arrives, the oldest
        message of the lowest urgency is dropped.
      '';
      max_queued_per_jid = option types.ints.positive 1000 ''
        How many messages for one account can wait for its phones. Beyond that, pushes get 503 with
        `Retry-After`.
      '';
      max_queued_bytes = option (types.either types.ints.positive types.str) "1GiB" ''
        The size of all waiting messages together. Beyond that, pushes get 503 with `Retry-After`.
        (size such as `"1GiB"`, or a number of bytes; at least `"1MiB"`)
      '';
    };
    limits = {
      endpoint_rate = option types.str "5/s, burst 120" ''
        The rate of pushes to one endpoint. Beyond that, pushes get 503 with `Retry-After`. (rate
        such as `"5/s, burst 120"`, with the unit `s`, `min`, `h` or `d`)
      '';
      client_guess_rate = option types.str "1/s, burst 30" ''
        The rate of requests for endpoints that never existed, from one client address (with IPv6,
        from one /64 network). Beyond that, such requests get 429. (rate such as `"1/s, burst 30"`,
        with the unit `s`, `min`, `h` or `d`)
      '';
      registrations_per_jid = option types.ints.positive 200 ''
        How many endpoints one account can have at a time. Beyond that, the registration that was
        renewed longest ago gives way to the new one, if that was more than a day ago; otherwise the
        new one is refused.
      '';
      registration_rate = option types.str "1/s, burst 60" ''
        The rate at which one account can register. (rate such as `"1/s, burst 60"`, with the unit
        `s`, `min`, `h` or `d`)
      '';
      in_flight_memory = option (types.either types.ints.positive types.str) "64MiB" ''
        The memory for all pushes that are waiting for an acknowledgement. Beyond that, pushes get
        503 with `Retry-After`. (size such as `"64MiB"`, or a number of bytes; at least `"64KiB"`)
      '';
      request_memory = option (types.either types.ints.positive types.str) "32MiB" ''
        The memory for all requests that are still arriving. Beyond that, the connections of those
        that have been arriving for longest are closed. (size such as `"32MiB"`, or a number of
        bytes; at least `"1MiB"`)
      '';
      connections = option types.ints.positive 10000 ''
        How many HTTP connections can be open at a time. When all of them are, those that have been
        idle for longest are closed.
      '';
      connections_per_client = option types.ints.positive 500 ''
        How many of these one client can have: an IPv4 address, or an IPv6 network of 64 bits.
        Trusted proxies and Unix sockets can have all of them.
      '';
    };
    log = {
      level = option (types.enum [ "error" "warn" "info" "debug" "trace" ]) "info" ''
        How much is logged. JIDs appear only with `debug` and `trace`; secrets, endpoints and
        message contents never do.
      '';
      format = option (types.enum [ "text" "json" ]) "text" ''
        The format of the log. With `text` under systemd, the journal receives each entry with its
        fields.
      '';
    };
    # End of what is made.
  };
}
