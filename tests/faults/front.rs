//! What proxies do to the path of a push when they are set up wrongly.

/// The URL that the daemon is asked for in place of this one.
pub fn altered(url: &str, form: usize) -> String {
    let start = url.find("/push/").expect("an endpoint");
    let (origin, path) = url.split_at(start);
    let token = path.trim_start_matches("/push/");
    match form % 6 {
        0 => format!("{origin}/{token}"),
        1 => format!("{origin}/push{path}"),
        2 => format!("{origin}/some/where/{token}"),
        3 => format!("{url}/"),
        4 => format!("{url}?from=somewhere"),
        _ => {
            let token = token.replace('.', "%2E").replace('-', "%2D");
            format!("{origin}/push/{}", token.replace('_', "%5F"))
        }
    }
}
