//! What a store holds, row by row.

use std::path::Path;

use rusqlite::Connection;
use testbed::postgres::connect;

/// Rows with what is rare: no topic, never sent, no end, a lease, names that are long or not ASCII.
pub fn fill(database: &Path) {
    let db = Connection::open(database).unwrap();
    db.execute_batch(
        "INSERT INTO issuers VALUES (x'0001020304050607', 7);
         INSERT INTO revocations VALUES
             ('nurse@example.org', x'', x'', 1, 9223372036854775807),
             ('nürse@example.org', zeroblob(32), randomblob(32), 5, 6),
             ('Nurse@example.org', zeroblob(32), zeroblob(32), 5, 6);
         INSERT INTO registrations
             (rowid, id, key, generation, owner, jid, application, instance, issued, expires,
              revoked, signer)
         VALUES (4711, randomblob(32), randomblob(8), randomblob(16), 'a@example.org',
                 'a@example.org/ü/~', randomblob(32), randomblob(32), 1, 9223372036854775807, 1,
                 randomblob(16));
         INSERT INTO queue VALUES
             (4712, randomblob(16), randomblob(16), 'a@example.org', 'a@example.org/x',
              randomblob(32), randomblob(32), 0, 9223372036854775807, NULL, 3, x'00', 2, 3, 0, NULL,
              9223372036854775807, 4),
             (4713, randomblob(16), randomblob(16), 'a@example.org',
              'a@example.org/' || printf('%.*c', 1000, 'x'), randomblob(32), randomblob(32), 0, 1,
              'topic', 0, randomblob(5000), 2, 3, 65535, 7, 0, 0);",
    )
    .unwrap();
}

/// What makes the tables, the indexes and the triggers.
pub fn schema(database: &Path) -> Vec<String> {
    let db = Connection::open(database).unwrap();
    let sql = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name";
    let mut statement = db.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

/// The indexes of a database of PostgreSQL's.
pub async fn indexes(url: &str) -> Vec<String> {
    let sql = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname";
    let rows = connect(url).await.unwrap().query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// All rows, but for the leases, which no copy has.
pub fn contents(database: &Path) -> Vec<String> {
    let db = Connection::open(database).unwrap();
    let texts = |query: &str| -> Vec<String> {
        let mut statement = db.prepare(query).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let queries = texts(
        "SELECT 'SELECT concat_ws(char(10), ''' || t.name || ''', rowid, ' ||
                group_concat('quote(' || c.name || ')') || ') FROM ' || t.name || ' ORDER BY 1'
         FROM sqlite_schema t, pragma_table_info(t.name) c
         WHERE t.type = 'table' AND t.name NOT IN ('clock', 'copy') AND c.name <> 'claimed_until'
         GROUP BY t.name",
    );
    assert_eq!(queries.len(), 5);
    // These are in no order.
    let unordered = |query: &String| query.contains("issuers") || query.contains("revocations");
    let query = |query: &String| match unordered(query) {
        true => texts(&query.replace("rowid, ", "")),
        false => texts(query),
    };
    queries.iter().flat_map(query).collect()
}

/// With messages of a size that encrypted ones have in general.
pub fn fill_with_a_million_of_each(database: &Path) {
    let db = Connection::open(database).unwrap();
    db.execute_batch(
        "PRAGMA synchronous = OFF;
         PRAGMA cache_size = -1048576;
         CREATE TEMP TABLE account AS
             WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000000)
             SELECT n, printf('juliet-%07d@example.org', n) AS jid FROM n;
         INSERT INTO revocations
             SELECT jid, randomblob(32), randomblob(32), n, 4102444800000 FROM account;
         INSERT INTO registrations
             (id, key, generation, owner, jid, application, instance, issued, expires)
             SELECT randomblob(32), x'0001020304050607', randomblob(16), jid,
                 jid || '/Conversations.' || hex(randomblob(2)), randomblob(32), randomblob(32), n,
                 4102444800000 + n FROM account;
         INSERT INTO queue
             SELECT n, randomblob(16), randomblob(16), jid, jid || '/Conversations.abcd',
                 randomblob(32), randomblob(32), 1, 4102444800000, NULL, n % 4, randomblob(400), n,
                 4102444800000 + n, 0, NULL, 0, 0 FROM account;",
    )
    .unwrap();
}
