# Everything on one machine: Prosody, the daemon, and nginx in front of it.
{ module }:

{
  name = "unified-push-prosody";

  nodes.machine =
    { pkgs, ... }:
    {
      imports = [
        module
        ./secrets.nix
      ];
      environment.systemPackages = [ pkgs.python3 ];

      services.prosody = {
        enable = true;
        xmppComplianceSuite = false;
        # It wants certificates.
        checkConfig = false;
        c2sRequireEncryption = false;
        extraConfig = "allow_unencrypted_plain_auth = true";
        virtualHosts.example = {
          domain = "example.org";
          enabled = true;
        };
      };

      services.unified-push = {
        enable = true;
        prosody.enable = true;
        nginx.enable = true;
        component.secretFile = "/var/lib/secrets/component";
        settings.component.domain = "up.example.org";
      };
      services.nginx.virtualHosts."up.example.org" = {
        forceSSL = false;
        enableACME = false;
      };
    };

  testScript = ''
    machine.wait_for_unit("unified-push.service")
    machine.wait_for_unit("nginx.service")
    machine.wait_for_open_port(5222)
    machine.succeed("prosodyctl register juliet example.org password")
    relay = "python3 ${../relay.py}"

    with subtest("pushes reach a phone, through nginx too"):
        print(machine.succeed(relay))
        print(machine.succeed(f"{relay} --http 127.0.0.1:80"))

    with subtest("nothing is lost"):
        print(machine.succeed(f"{relay} --during 'systemctl restart unified-push.service'"))
        print(machine.succeed(f"{relay} --during 'systemctl restart prosody.service'"))
        print(machine.succeed(f"{relay} --away --during 'systemctl restart unified-push.service'"))

    with subtest("the commands see the daemon's state"):
        machine.succeed("unified-push check-config")
        machine.succeed("unified-push healthcheck")
        machine.succeed("unified-push registrations list")

    with subtest("the sandbox is tight"):
        machine.succeed("systemd-analyze security --threshold=15 unified-push.service")
        machine.fail("grep -r the-component-secret /etc/prosody/ /etc/systemd/")
  '';
}
