//! `import`: endpoints that Prosody has kept in files work here, too.

use std::{fs, path::PathBuf};

use testbed::{
    Bed, PATIENCE, Pair,
    bed::{OWNER, push},
    eventually,
};

const TOKEN: &str = "Q6IuKWbml55VCy-bs0tTzyE5g2Qfb6y28F2K";
const FILE: &str = "Q6IuKWbml55VCy%2dbs0tTzyE5g2Qfb6y28F2K.dat";

/// As Prosody writes it, of the phone's app; it expires in 2100.
pub fn file(bed: &Bed) -> PathBuf {
    let phone = format!("{OWNER}/phone");
    let Pair {
        application,
        instance,
    } = Pair::of(&phone, "app");
    let store = bed.path("prosody/up%2eexample%2eorg/unified_push");
    fs::create_dir_all(&store).unwrap();
    let path = store.join(FILE);
    let text = format!(
        "return {{\n\t[\"exp\"] = 4102444800;\n\t[\"sub\"] = \"{phone}\";\n\
         \t[\"application\"] = \"{application}\";\n\t[\"instance\"] = \"{instance}\";\n}};\n"
    );
    fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn endpoints_of_prosody_s_storage_are_imported_while_the_daemon_runs() {
    let mut bed = Bed::new().await;
    let file = file(&bed);
    let _daemon = bed.start().await;
    // It has moved here. A phone that does not know the app says so, and that revokes the endpoint.
    bed.register("app").await;
    let endpoint = bed.url(&format!("/push/{TOKEN}"));
    assert_eq!(push(&endpoint).await, 404);

    let data = bed.path("prosody");
    let command = ["import", "prosody-storage", data.to_str().unwrap()];
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let refused = bed.run(&command).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    for part in [FILE, "is damaged", "Nothing was imported"] {
        assert!(refused.stderr.contains(part), "{refused:?}");
    }
    assert!(!refused.stderr.contains(TOKEN), "{refused:?}");

    fs::write(&file, &whole).unwrap();
    let imported = bed.run(&command).await.with(0);
    let expected = "1 endpoint imported. Known from an earlier import: 0; expired: 0\n";
    assert_eq!(imported, expected);
    assert_eq!(push(&endpoint).await, 201, "at once");
    bed.arrived().await;
    let again = bed.run(&command).await.with(0);
    let expected = "0 endpoints imported. Known from an earlier import: 1; expired: 0\n";
    assert_eq!(again, expected);
    let told = bed.run(&["inspect", &endpoint]).await.with(0);
    let format = "back end:    prosody-storage (imported)\n";
    assert!(told.starts_with(format), "{told}");

    bed.run(&["registrations", "revoke", OWNER]).await.with(0);
    let dead = async || (push(&endpoint).await == 404).then_some(());
    eventually("it is revoked", PATIENCE, dead).await;
    bed.run(&command).await.with(0);
    assert_eq!(push(&endpoint).await, 404);
}
