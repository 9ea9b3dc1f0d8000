# The daemon's options, as docs/configuration.md has them. What is null is left to the daemon. What
# is missing here is done by module.nix: the files with secrets and the state directory.
{ lib, format }:

let
  inherit (lib) types;

  option =
    type: default: description:
    lib.mkOption { inherit type default description; };
  duration = types.either types.ints.positive types.str;
  size = types.either types.ints.positive types.str;
in
{
  freeformType = format.type;

  options = {
    acl = option (types.nullOr (types.listOf types.str)) null ''
      Who may register: domains (all their accounts), `"*.example.org"` for all below a domain, bare
      JIDs, or `"*"` for everybody. Null stands for the parent domain of `component.domain`.
    '';

    backend = option (types.enum [ "paseto" "jwt" "storage" ]) "paseto" ''
      What endpoint URLs are made of: `paseto` (encrypted), `jwt` (readable; as Prosody's
      mod_unified_push) or `storage` (random ids, kept in the store).
    '';

    registration_ttl = option duration "7d" ''
      How long an endpoint lives: a duration such as `"7d"`, or seconds.
    '';

    component = {
      domain = option (types.nullOr types.str) null ''
        The component's name, as in the XMPP server's configuration. Required.
      '';
      host = option types.str "127.0.0.1" "Where the XMPP server listens for components.";
      port = option types.port 5347 "The port there.";
    };

    http = {
      listen = option types.str "127.0.0.1:8080" ''
        Where application servers are served: `"ADDRESS:PORT"` or `"unix:/PATH"`. systemd listens
        there, so any port and any path will do.
      '';
      public_url = option (types.nullOr types.str) null ''
        What endpoint URLs start with. Null stands for `https://` and `component.domain`.
      '';
      require_ttl = option types.bool false ''
        Whether a push without a TTL header is refused, as RFC 8030 wants.
      '';
      trusted_proxies = option (types.listOf types.str) [ "127.0.0.0/8" "::1" ] ''
        Whose `X-Forwarded-For` is believed.
      '';
    };

    admin.listen = option types.str "127.0.0.1:8081" ''
      Where `/metrics`, `/healthz` and `/readyz` are served, like `http.listen`. Not for the public.
    '';

    store.url = option (types.nullOr types.str) null ''
      Where registrations, revocations and queued messages are kept: `"sqlite"`, which is the
      default, or `"postgres://USER@HOST/DATABASE"`. A URL with a password belongs into the file
      that {option}`services.unified-push.store.urlFile` names.
    '';

    delivery = {
      ack_timeout = option duration "1s" ''
        How long a push waits for the phone's acknowledgement; at most `"5s"`.
      '';
      default_ttl = option duration "1d" "The time to live of a push whose sender names none.";
      max_ttl = option duration "28d" "The longest time to live.";
      max_queued_per_endpoint = option types.ints.positive 100 ''
        Messages of one endpoint that wait.
      '';
      max_queued_per_jid = option types.ints.positive 1000 "Messages of one account that wait.";
      max_queued_bytes = option size "1GiB" "All messages that wait: a size, or bytes.";
    };

    limits = {
      endpoint_rate = option types.str "5/s, burst 120" "Pushes to one endpoint.";
      client_guess_rate = option types.str "1/s, burst 30" ''
        Made-up endpoints from one client address.
      '';
      registrations_per_jid = option types.ints.positive 200 ''
        Endpoints of one account that live at a time, where they are known (back end `storage`).
      '';
      registration_rate = option types.str "1/s, burst 60" "Registrations of one account.";
      in_flight_memory = option size "64MiB" ''
        Pushes that wait for an acknowledgement, all together: a size, or bytes.
      '';
      connections = option types.ints.positive 10000 "Open HTTP connections.";
    };

    log = {
      level = option (types.enum [ "error" "warn" "info" "debug" "trace" ]) "info" ''
        How much is logged. JIDs appear from `debug` on.
      '';
      format = option (types.enum [ "text" "json" ]) "text" ''
        How it is written. With `text` the journal gets the fields.
      '';
    };
  };
}
