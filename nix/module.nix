# services.unified-push: options in, a checked configuration and a sandboxed unit out.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  inherit (lib) types;

  cfg = config.services.unified-push;
  format = pkgs.formats.toml { };
  daemon = lib.getExe cfg.package;

  secretFileOption =
    description:
    lib.mkOption {
      type = types.nullOr types.path;
      default = null;
      example = "/var/lib/secrets/unified-push";
      description = ''
        ${description} Only root has to be able to read it. It must not be in the Nix store: write
        the path as a string.
      '';
    };

  isSet = file: file != null;

  # What systemd hands to the daemon, by name.
  credentials = lib.filterAttrs (_: isSet) ({
    component-secret = cfg.component.secretFile;
    secret = cfg.secretFile;
    previous-secrets = cfg.previousSecretsFile;
    store-url = cfg.store.urlFile;
  }
  // builtins.listToAttrs (
    lib.imap0 (index: import: lib.nameValuePair "import-${toString index}" (import.key_file or null)) imports
  ));
  imports = if cfg.settings.import == null then [ ] else cfg.settings.import;

  # A relative path is one in the credentials directory.
  secretSettings = {
    secret_file = if isSet cfg.secretFile then "secret" else null;
    previous_secrets_file = if isSet cfg.previousSecretsFile then "previous-secrets" else null;
    component.secret_file = if isSet cfg.component.secretFile then "component-secret" else null;
    store.url_file = if isSet cfg.store.urlFile then "store-url" else null;
    import =
      if imports == [ ] then
        null
      else
        lib.imap0 (index: import: import // { key_file = "import-${toString index}"; }) imports;
  };

  isFilled = value: value != null && value != { };
  settings = lib.filterAttrs (_: isFilled) (
    lib.filterAttrsRecursive (_: isSet) (lib.recursiveUpdate cfg.settings secretSettings)
  );

  # The daemon itself checks its configuration while the system is built. Secrets are not at hand
  # then: others stand in for them, also for those that the environment may bring.
  environmentSecrets =
    lib.optionalString (isSet cfg.environmentFile && !isSet cfg.component.secretFile) (
      "UNIFIED_PUSH_COMPONENT__SECRET=stand-in "
    )
    + lib.optionalString (isSet cfg.environmentFile && !isSet cfg.secretFile) (
      "UNIFIED_PUSH_SECRET=stand-in-of-thirty-two-bytes-or-more "
    );
  # Keys of the other servers have forms of their own.
  standIns = {
    prosody-paseto = "secret-token:paseto.v3.local:${lib.concatStringsSep "" (builtins.genList (_: "0") 64)}";
    prosody-jwt = "a-stand-in-of-32-bytes-for-the-secret";
    up = "${lib.concatStringsSep "" (builtins.genList (_: "A") 43)}=";
    ejabberd = builtins.toJSON {
      kty = "oct";
      k = "AAAA";
    };
  };
  configFile =
    pkgs.runCommand "unified-push.toml"
      {
        unchecked = format.generate "unified-push.toml" settings;
      }
      ''
        mkdir credentials
        for name in component-secret secret previous-secrets; do
          echo a-stand-in-of-32-bytes-for-the-$name >credentials/$name
        done
        echo postgres://unified-push@localhost/unified-push >credentials/store-url
        ${lib.concatStringsSep "" (
          lib.imap0 (index: import: ''
            echo ${lib.escapeShellArg (standIns.${import.kind} or "")} >credentials/import-${toString index}
          '') imports
        )}
        env -i CREDENTIALS_DIRECTORY="$PWD/credentials" ${environmentSecrets}\
          ${daemon} check-config --config "$unchecked"
        cp "$unchecked" "$out"
      '';
  checkable = pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform;
  usedConfigFile = if checkable then configFile else configFile.unchecked;

  # What the daemon needs of its user, its state and its secrets; the commands need it as well.
  identity = {
    DynamicUser = true;
    User = "unified-push";
    StateDirectory = "unified-push";
    StateDirectoryMode = "0700";
    UMask = "0077";
    LoadCredential = lib.mapAttrsToList (name: file: "${name}:${toString file}") credentials;
  }
  // lib.optionalAttrs (isSet cfg.environmentFile) {
    EnvironmentFile = toString cfg.environmentFile;
  };

  sandbox = {
    CapabilityBoundingSet = [ "" ];
    DevicePolicy = "closed";
    LockPersonality = true;
    MemoryDenyWriteExecute = true;
    NoNewPrivileges = true;
    PrivateDevices = true;
    PrivateTmp = true;
    PrivateUsers = true;
    ProcSubset = "pid";
    ProtectClock = true;
    ProtectControlGroups = true;
    ProtectHome = true;
    ProtectHostname = true;
    ProtectKernelLogs = true;
    ProtectKernelModules = true;
    ProtectKernelTunables = true;
    ProtectProc = "invisible";
    ProtectSystem = "strict";
    RemoveIPC = true;
    RestrictAddressFamilies = [
      "AF_INET"
      "AF_INET6"
      "AF_UNIX"
    ];
    RestrictNamespaces = true;
    RestrictRealtime = true;
    RestrictSUIDSGID = true;
    SystemCallArchitectures = "native";
    SystemCallErrorNumber = "EPERM";
    SystemCallFilter = [
      "@system-service"
      "~@privileged @resources"
    ];
  };

  property = name: value: "--property=${lib.escapeShellArg "${name}=${toString value}"}";
  properties = lib.concatStringsSep " " (
    lib.mapAttrsToList property (removeAttrs identity [ "LoadCredential" ])
    ++ map (property "LoadCredential") identity.LoadCredential
  );
  # The commands that look at the daemon's state run as its user, with its configuration.
  command = pkgs.writeShellScriptBin "unified-push" ''
    export UNIFIED_PUSH_CONFIG=${usedConfigFile}
    case "''${1-}" in
    check-config | healthcheck | import | inspect | queue | registrations)
      if [ "$(id -u)" != 0 ]; then
        echo "unified-push $1: run it as root, who can read the daemon's secrets" >&2
        exit 1
      fi
      exec systemd-run --quiet --pipe --wait --collect --service-type=exec \
        --setenv=UNIFIED_PUSH_CONFIG ${properties} -- ${daemon} "$@"
      ;;
    esac
    exec ${daemon} "$@"
  '';

  # At a stable path, so that a change which needs no restart leaves the unit as it is.
  etc = "unified-push/config.toml";
  # The settings whose new value needs a restart.
  fixed = {
    inherit (cfg.settings.component) domain;
    inherit (cfg.settings.http) public_url;
    listen = [
      cfg.settings.http.listen
      cfg.settings.admin.listen
    ];
    inherit (cfg.settings.limits) connections;
    log = cfg.settings.log.format;
    store = cfg.settings.store.url;
  };
  # systemd reloads it by itself.
  knowsReload = builtins.compareVersions config.systemd.package.version "253" >= 0;

  isUnix = lib.hasPrefix "unix:";
  socket = listen: name: {
    wantedBy = [ "sockets.target" ];
    listenStreams = [ (lib.removePrefix "unix:" listen) ];
    socketConfig = {
      FileDescriptorName = name;
      Service = "unified-push.service";
    }
    // lib.optionalAttrs (isUnix listen) { RemoveOnStop = true; };
  };
in
{
  imports = [
    ./assertions.nix
    ./federation.nix
    ./prosody.nix
    ./web.nix
  ];

  options.services.unified-push = {
    enable = lib.mkEnableOption "unified-push, a UnifiedPush push server for XMPP";

    package = lib.mkOption {
      type = types.package;
      default = pkgs.callPackage ./package.nix { };
      defaultText = lib.literalExpression "pkgs.callPackage ./package.nix { }";
      description = "The package to use.";
    };

    settings = lib.mkOption {
      type = types.submodule (import ./settings.nix { inherit lib format; });
      default = { };
      example = {
        component.domain = "up.example.org";
        acl = [ "example.org" ];
      };
      description = ''
        The daemon's configuration; docs/configuration.md says more about each option. It is checked
        when the system is built. Secrets do not belong here: it is readable by everybody.
      '';
    };

    component.secretFile = secretFileOption ''
      The file with the component's secret, as the XMPP server has it.
    '';

    secretFile = secretFileOption ''
      The file with the secret that endpoints rest on, such as `unified-push gen-secret` prints.
      Without one, the daemon makes its own on the first start. It is required with PostgreSQL, where
      several daemons may share it, and with back end `jwt`.
    '';

    previousSecretsFile = secretFileOption ''
      The file with the secrets before the current one, one per line: endpoints made with them still
      work.
    '';

    store.urlFile = secretFileOption ''
      The file with `store.url`, for a URL with a password.
    '';

    environmentFile = lib.mkOption {
      type = types.nullOr types.path;
      default = null;
      example = "/var/lib/secrets/unified-push.env";
      description = ''
        A file of `UNIFIED_PUSH_` variables, which win over the settings. systemd reads it as root.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    environment.systemPackages = [ command ];
    environment.etc.${etc}.source = usedConfigFile;

    # systemd listens, so that no connection is refused while the daemon restarts.
    systemd.sockets.unified-push = socket cfg.settings.http.listen "http";
    systemd.sockets.unified-push-admin = socket cfg.settings.admin.listen "admin";

    systemd.services.unified-push = {
      description = "UnifiedPush push server for XMPP";
      wantedBy = [ "multi-user.target" ];
      requires = [
        "unified-push.socket"
        "unified-push-admin.socket"
      ];
      # Where they are on this machine. None is required: the daemon waits for each by itself.
      after = [
        "network.target"
        "prosody.service"
        "ejabberd.service"
        "postgresql.target"
        # Waits only if a service such as systemd-time-wait-sync.service is enabled.
        "time-sync.target"
      ];
      # A daemon that cannot start tries again for ever; the journal says why.
      startLimitIntervalSec = 0;
      reloadTriggers = [ usedConfigFile ];
      restartTriggers = [ (builtins.toJSON fixed) ];
      serviceConfig =
        identity
        // sandbox
        // {
          Type = if knowsReload then "notify-reload" else "notify";
          ExecStart = "${daemon} --config /etc/${etc} serve";
          WatchdogSec = 30;
          Restart = "on-failure";
          RestartSec = 1;
          # But a wrong configuration does not become right by itself.
          RestartPreventExitStatus = 78;
          Sockets = "unified-push.socket unified-push-admin.socket";
          LimitNOFILE = cfg.settings.limits.connections + 1024;
          # As contrib/systemd/unified-push.service has it; raise it with the settings under limits.
          MemoryMax = lib.mkDefault "512M";
          # A core would hold secrets.
          LimitCORE = 0;
        }
        // lib.optionalAttrs (!knowsReload) { ExecReload = "kill -HUP $MAINPID"; };
    };
  };
}
