{
  description = "A UnifiedPush push server for any XMPP server";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forEachSystem = f: lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system});
      packageOf = pkgs: self.packages.${pkgs.system}.default;
    in
    {
      packages = forEachSystem (pkgs: {
        default = pkgs.callPackage ./nix/package.nix { };
        oci-image = pkgs.callPackage ./nix/oci-image.nix { unified-push = packageOf pkgs; };
      });

      overlays.default = final: _: { unified-push = final.callPackage ./nix/package.nix { }; };

      nixosModules.default.imports = [ ./nix/module.nix ];

      devShells = forEachSystem (pkgs: {
        default = pkgs.mkShell {
          inputsFrom = [ (packageOf pkgs) ];
          packages = [
            pkgs.clippy
            pkgs.rust-analyzer
            pkgs.rustfmt
          ];
        };
      });

      checks = forEachSystem (
        pkgs:
        {
          package = packageOf pkgs;
          module = import ./nix/tests/flake-check.nix {
            inherit lib pkgs;
            package = packageOf pkgs;
          };
        }
        // lib.mapAttrs (
          _: test: pkgs.testers.runNixOSTest (import test { module = self.nixosModules.default; })
        ) (import ./nix/tests/vm)
      );

      formatter = forEachSystem (pkgs: pkgs.nixfmt-tree);
    };
}
