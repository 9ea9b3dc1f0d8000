# Two daemons share a database and a component of one ejabberd; pushes go to each in turn.
{ module }:

let
  replica =
    { pkgs, ... }:
    {
      imports = [
        module
        ./secrets.nix
      ];
      environment.systemPackages = [ pkgs.python3 ];
      services.unified-push = {
        enable = true;
        openFirewall = true;
        component.secretFile = "/var/lib/secrets/component";
        secretFile = "/var/lib/secrets/unified-push";
        store.urlFile = "/var/lib/secrets/database";
        settings = {
          backend = "storage";
          component.domain = "up.example.org";
          component.host = "server";
          http.listen = "[::]:8080";
        };
      };
    };
in
{
  name = "unified-push-postgresql";

  nodes = {
    one = replica;
    two = replica;

    server =
      { pkgs, ... }:
      {
        networking.firewall.allowedTCPPorts = [
          5222
          5347
          5432
        ];

        services.postgresql = {
          enable = true;
          enableTCPIP = true;
          authentication = "host unified-push unified-push all scram-sha-256";
          initialScript = pkgs.writeText "databases.sql" ''
            CREATE ROLE "unified-push" LOGIN PASSWORD 'password';
            CREATE DATABASE "unified-push" OWNER "unified-push";
          '';
        };

        services.ejabberd = {
          enable = true;
          configFile = "/etc/ejabberd.yml";
        };
        environment.etc."ejabberd.yml" = {
          user = "ejabberd";
          mode = "0600";
          source = ./ejabberd.yml;
        };
      };
  };

  testScript = ''
    server.wait_for_open_port(5432)
    server.wait_for_open_port(5347)
    server.wait_for_open_port(5222)
    server.succeed("su ejabberd -s $(which ejabberdctl) register juliet example.org password")
    for replica in one, two:
        replica.wait_for_unit("unified-push.service")
        replica.wait_until_succeeds("curl --fail http://127.0.0.1:8081/readyz | grep '\"link\":\"up\"'")
    relay = "python3 ${../relay.py} --server server:5222 --http one:8080 --http two:8080"

    with subtest("a push reaches the phone by either"):
        print(one.succeed(relay))

    with subtest("nothing is lost when one is restarted, and when it is gone"):
        print(one.succeed(f"{relay} --during 'systemctl restart unified-push.service'"))
        two.succeed("systemctl stop unified-push.socket unified-push.service")
        print(one.succeed(f"{relay} --refuses"))

    with subtest("both know the registration"):
        two.succeed("systemctl start unified-push.socket unified-push.service")
        for replica in one, two:
            assert "juliet@example.org" in replica.succeed("unified-push registrations list")
  '';
}
