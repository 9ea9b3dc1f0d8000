# Configurations that the module accepts, and others that it refuses with a message that says what
# to write.
{ lib }:

let
  # The least that works.
  minimal = {
    enable = true;
    component.secretFile = "/var/lib/secrets/unified-push-component";
    settings.component.domain = "up.example.org";
  };
  of = changes: { services.unified-push = lib.recursiveUpdate minimal changes; };
  withProsody = changes: lib.recursiveUpdate (of changes) { services.prosody.enable = true; };
  secretFile = "/var/lib/secrets/unified-push";
  refused = message: configuration: { inherit message configuration; };
  settings = settings: of { inherit settings; };
in
{
  # What nix/check.sh boots. Waiting is shorter, and a system call that the sandbox does not let
  # through is deadly instead of an error.
  guest = lib.recursiveUpdate
    (withProsody {
      inherit secretFile;
      prosody.enable = true;
      nginx.enable = true;
      settings.backend = "storage";
    })
    {
      systemd.services.unified-push.serviceConfig = {
        WatchdogSec = lib.mkForce 3;
        SystemCallErrorNumber = lib.mkForce "kill";
      };
    };

  accepted = {
    minimal = of { };
    disabled = {
      services.unified-push.settings.nonsense = true;
    };
    every-secret = of {
      inherit secretFile;
      previousSecretsFile = "/var/lib/secrets/previous";
    };
    imports = settings {
      import = [
        {
          kind = "prosody-paseto";
          key_file = "/var/lib/secrets/prosody";
        }
        {
          kind = "up";
          key_file = "/var/lib/secrets/up";
        }
        {
          kind = "ejabberd";
          key_file = "/var/lib/secrets/ejabberd";
        }
      ];
    };
    environment = {
      services.unified-push = {
        enable = true;
        environmentFile = "/var/lib/secrets/environment";
        settings.component.domain = "up.example.org";
        settings.backend = "jwt";
      };
    };
    jwt = of {
      inherit secretFile;
      settings.backend = "jwt";
    };
    storage = settings {
      backend = "storage";
      registration_ttl = "30d";
      limits.registrations_per_jid = 50;
    };
    everything = of {
      inherit secretFile;
      settings = {
        acl = [
          "example.org"
          "romeo@example.net"
        ];
        registration_ttl = 604800;
        component.host = "localhost";
        component.port = 5348;
        http.public_url = "https://example.org/push/";
        http.require_ttl = true;
        http.trusted_proxies = [ "10.0.0.0/8" ];
        delivery.ack_timeout = "800ms";
        delivery.default_ttl = "12h";
        delivery.max_ttl = 86400;
        limits.endpoint_rate = "10/min";
        limits.in_flight_memory = 1048576;
        limits.connections = 500;
        log.level = "debug";
        log.format = "json";
      };
    };
    sqlite = settings { store.url = "sqlite"; };
    postgres = of {
      inherit secretFile;
      settings.store.url = "postgres://unified-push@database/unified-push";
    };
    postgres-with-password = of {
      inherit secretFile;
      store.urlFile = "/var/lib/secrets/database";
    };
    unix-socket = settings { http.listen = "unix:/run/unified-push-http.sock"; };
    port-80 = of {
      openFirewall = true;
      settings.http.listen = "[::]:80";
    };
    nginx = of {
      openFirewall = true;
      nginx.enable = true;
    };
    nginx-elsewhere = of {
      nginx.enable = true;
      nginx.domain = "push.example.net";
      settings.http.listen = "unix:/run/unified-push-http.sock";
    };
    prosody = withProsody { prosody.enable = true; };
    prosody-port = withProsody {
      prosody.enable = true;
      settings.component.port = 5348;
    };
    federation = of {
      nginx.enable = true;
      openFirewall = true;
      federation.enable = true;
      federation.openFirewall = true;
      settings.acl = [ "example.net" ];
    };
    federation-with-certificate = of {
      federation.enable = true;
      federation.certificateDirectory = "/var/lib/acme/up.example.org";
    };
    tls = settings {
      component.host = "10.0.0.2";
      component.tls = true;
      component.tls_name = "example.org";
    };
    component-by-unix-socket = settings {
      component.host = "unix:/run/ejabberd/component.sock";
    };
  };

  refused = {
    no-domain =
      refused ''services.unified-push.settings.component.domain = "up.example.org";''
        {
          services.unified-push = {
            enable = true;
            component.secretFile = "/var/lib/secrets/unified-push-component";
          };
        };
    no-domain-with-all =
      refused ''services.unified-push.settings.component.domain = "up.example.org";''
        {
          services.unified-push = {
            enable = true;
            component.secretFile = "/var/lib/secrets/unified-push-component";
            prosody.enable = true;
            nginx.enable = true;
          };
        };
    no-component-secret =
      refused
        ''services.unified-push.component.secretFile = "/var/lib/secrets/unified-push-component";''
        {
          services.unified-push = {
            enable = true;
            settings.component.domain = "up.example.org";
          };
        };

    jwt-without-secret = refused ''services.unified-push.secretFile = "/var/lib/secrets/unified-push";'' (
      settings { backend = "jwt"; }
    );
    postgres-without-secret =
      refused "keeps its state in PostgreSQL, where several daemons may share it"
        (settings { store.url = "postgres://unified-push@database/unified-push"; });
    postgres-file-without-secret =
      refused ''services.unified-push.secretFile = "/var/lib/secrets/unified-push";''
        (of { store.urlFile = "/var/lib/secrets/database"; });
    password-in-settings =
      refused ''services.unified-push.store.urlFile = "/var/lib/secrets/unified-push-database";''
        (of {
          inherit secretFile;
          settings.store.url = "postgres://unified-push:password@database/unified-push";
        });
    two-databases = refused "are both set: keep only one of the two" (of {
      inherit secretFile;
      store.urlFile = "/var/lib/secrets/database";
      settings.store.url = "postgres://unified-push@database/unified-push";
    });

    secret-in-settings = refused ''write services.unified-push.secretFile = "/PATH/OF/A/FILE"'' (settings {
      secret = "a secret of more than thirty-two bytes";
    });
    secret-file-in-settings = refused "write services.unified-push.secretFile" (settings {
      secret_file = secretFile;
    });
    previous-secrets-in-settings =
      refused ''write services.unified-push.previousSecretsFile = "/PATH/OF/A/FILE"''
        (settings { previous_secrets = [ "a secret of more than thirty-two bytes" ]; });
    previous-secrets-file-in-settings = refused "write services.unified-push.previousSecretsFile" (
      settings { previous_secrets_file = secretFile; }
    );
    component-secret-in-settings =
      refused ''write services.unified-push.component.secretFile = "/PATH/OF/A/FILE"''
        (settings { component.secret = "component secret"; });
    component-secret-file-in-settings = refused "write services.unified-push.component.secretFile" (
      settings { component.secret_file = secretFile; }
    );
    import-with-key = refused "settings.import needs a key_file in each entry, and no key" (settings {
      import = [
        {
          kind = "up";
          key = "a key";
        }
      ];
    });
    url-file-in-settings = refused "write services.unified-push.store.urlFile" (settings {
      store.url_file = secretFile;
    });
    state-dir-in-settings = refused "mount that at /var/lib/private/unified-push" (settings {
      state_dir = "/srv/unified-push";
    });

    secret-in-store = refused "services.unified-push.secretFile is in the Nix store" (of {
      secretFile = "${builtins.storeDir}/0123456789abcdfghijklmnpqrsvwxyz-secret";
    });
    secret-as-path = refused "write its path as a string" (of { component.secretFile = ./cases.nix; });

    firewall-for-nothing = refused ''services.unified-push.settings.http.listen = "[::]:8080";'' (of {
      openFirewall = true;
    });
    nginx-with-another-url =
      refused ''services.unified-push.settings.http.public_url = "https://up.example.org";''
        (of {
          nginx.enable = true;
          settings.http.public_url = "https://push.example.net";
        });
    prosody-is-not-here = refused "services.prosody.enable = true" (of { prosody.enable = true; });
    prosody-without-file = refused "needs it in a file" {
      services.prosody.enable = true;
      services.unified-push = {
        enable = true;
        environmentFile = "/var/lib/secrets/environment";
        prosody.enable = true;
        settings.component.domain = "up.example.org";
      };
    };
    federation-without-certificate =
      refused ''services.unified-push.federation.certificateDirectory = "/var/lib/acme/up.example.org";''
        (of { federation.enable = true; });
    prosody-on-another-machine = refused "Remove services.unified-push.settings.component.host" (
      withProsody {
        prosody.enable = true;
        settings.component.host = "xmpp.example.org";
      }
    );

    # By the types of the options.
    wrong-backend = refused "option `services.unified-push.settings.backend'" (settings {
      backend = "redis";
    });
    wrong-port = refused "option `services.unified-push.settings.component.port'" (settings {
      component.port = 70000;
    });
    wrong-option = refused "option `services.unified-push.setings' does not exist" (of {
      setings.backend = "jwt";
    });
    relative-secret-file = refused "option `services.unified-push.secretFile'" (of {
      secretFile = "secret";
    });
  };

  # When the system is built.
  refusedByDaemon = {
    misspelt-setting = refused "did you mean http.require_ttl?" (settings {
      http.require_tll = true;
    });
    wrong-duration = refused "registration_ttl" (settings { registration_ttl = "a week"; });
    wrong-rate = refused "limits.endpoint_rate" (settings { limits.endpoint_rate = "many"; });
    wrong-store = refused "store.url" (settings { store.url = "mysql://database"; });
    long-timeout = refused "delivery.ack_timeout" (settings { delivery.ack_timeout = "1min"; });
  };
}
