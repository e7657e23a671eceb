use super::*;
use app::App;
use axum::body::Body;
use axum::http::StatusCode;
use domain::people::access::Power;
use domain::people::{Actor, Role, Scope};
use leptos_axum::generate_route_list;

/// Methods and paths of the plain routes, as they stand in the router's own text.
fn plain_routes() -> Vec<(String, String)> {
    let mut routes = Vec::new();
    for part in include_str!("../../router.rs").split(".route(").skip(1) {
        let mut quoted = part.split('"');
        let path = quoted.nth(1).unwrap().to_string();
        let handlers = quoted.next().unwrap().split(".layer").next().unwrap();
        for method in ["get", "post", "put", "delete", "patch"] {
            if handlers.contains(&format!("{method}(")) {
                routes.push((method.to_uppercase(), path.clone()));
            }
        }
    }
    routes
}

#[tokio::test]
async fn whatever_the_server_answers_has_a_rule() {
    let functions: Vec<_> = leptos::server_fn::axum::server_fn_paths().collect();
    assert!(functions.len() > 90, "{}", functions.len());
    let pages = generate_route_list(App);
    assert!(pages.len() > 15, "{}", pages.len());
    let plain = plain_routes();
    assert!(plain.len() > 30 && plain.contains(&("PUT".to_string(), "/uploads/{id}".to_string())), "{plain:?}");

    let functions = functions.into_iter().map(|(path, method)| (method.to_string(), path.to_string()));
    let pages = pages.into_iter().map(|page| ("GET".to_string(), format!("/{}", page.path().trim_start_matches('/'))));
    let missing: Vec<_> = functions
        .chain(pages)
        .chain(plain)
        .filter(|(method, path)| access::need(method, &path.replace(':', "")).is_none())
        .collect();
    assert!(missing.is_empty(), "not in the table of domain::people::access: {missing:?}");
}

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request {
    let request = Request::builder().method(method).uri(path);
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(Body::empty()).unwrap()
}

fn caller(role: Role, by: CalledBy) -> Caller {
    let scopes = matches!(by, CalledBy::Key(_)).then(|| vec![Scope::Classify, Scope::Train]);
    Caller { actor: Actor::somebody(), power: Some(Power { role, scopes }), by }
}

/// A cookie alone changes nothing; a key, or nobody at all, cannot be made to send anything by another page.
#[test]
fn a_session_changes_things_from_our_pages_only() {
    for (method, by, headers, forged) in [
        ("POST", CalledBy::Session(1), &[][..], true),
        ("PUT", CalledBy::Session(1), &[("sec-fetch-site", "cross-site")][..], true),
        ("POST", CalledBy::Session(1), &[("sec-fetch-site", "same-site")][..], true),
        ("DELETE", CalledBy::Session(1), &[("sec-fetch-site", "none")][..], true),
        ("POST", CalledBy::Session(1), &[("sec-fetch-site", "same-origin")][..], false),
        // Whether it is ours is checked ahead of this.
        ("POST", CalledBy::Session(1), &[("origin", "http://127.0.0.1:3000")][..], false),
        ("GET", CalledBy::Session(1), &[][..], false),
        ("POST", CalledBy::Key(1), &[][..], false),
        ("POST", CalledBy::Open, &[][..], false),
    ] {
        let request = request(method, "/api/start_run1", headers);
        assert_eq!(is_forged(&caller(Role::Editor, by.clone()), &request), forged, "{method} {by:?} {headers:?}");
        assert_eq!(why_not(Some(Need::Change), &caller(Role::Editor, by), &request).is_some(), forged);
    }
}

#[test]
fn what_is_not_in_the_table_is_for_administrators() {
    let request = request("GET", "/forgotten", &[]);
    assert!(why_not(None, &caller(Role::Administrator, CalledBy::Session(1)), &request).is_none());
    for role in [Role::Viewer, Role::Editor] {
        let error = why_not(None, &caller(role, CalledBy::Session(1)), &request).unwrap();
        assert_eq!(error.kind, ErrorKind::NotFound);
    }
    let error = why_not(None, &caller(Role::Administrator, CalledBy::Key(1)), &request).unwrap();
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert_eq!(why_not(None, &Caller::nobody(), &request).unwrap().kind, ErrorKind::SignIn);
}

#[test]
fn refusals_are_in_the_form_that_is_asked_for() {
    let page = ("accept", "text/html,*/*");
    let where_to = |request: Request, error: UserError| {
        let response = refuse(&request, error);
        let location = response.headers().get(header::LOCATION).map(|at| at.to_str().unwrap().to_string());
        (response.status().as_u16(), location.unwrap_or_default())
    };
    let unknown = || UserError::sign_in("who?");
    let (status, location) = where_to(request("GET", "/runs/3?rows=a&b", &[page]), unknown());
    assert_eq!((status, location.as_str()), (303, "/sign-in?then=/runs/3%3Frows%3Da%26b"));
    let back = ("referer", "http://127.0.0.1:3000/runs/new?dataset=1");
    let (status, location) = where_to(request("POST", "/api/start_run1", &[page, back]), unknown());
    assert_eq!((status, location.as_str()), (303, "/sign-in?then=/runs/new%3Fdataset%3D1"));
    let (status, location) = where_to(request("POST", "/api/start_run1", &[page, back]), UserError::forbidden("no"));
    assert_eq!(status, 303);
    assert!(location.starts_with("http://127.0.0.1:3000/runs/new?dataset=1&__path=%2Fapi%2Fstart_run1&__err="));
    assert_eq!(where_to(request("POST", "/api/start_run1", &[]), UserError::forbidden("no")).0, 403);
    assert_eq!(where_to(request("GET", "/people", &[page]), UserError::forbidden("no")).0, 403);
    let response = refuse(&request("POST", "/v1/classify", &[]), unknown());
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(response.headers().contains_key(header::WWW_AUTHENTICATE));
}

#[test]
fn only_our_own_keys_are_looked_up() {
    let of = |value: &'static str| {
        let headers: HeaderMap = [(header::AUTHORIZATION, HeaderValue::from_static(value))].into_iter().collect();
        key_of(&headers).map(String::from)
    };
    assert_eq!(of("Bearer ayar_abc"), Some("ayar_abc".to_string()));
    assert_eq!(of("bearer  ayar_abc "), Some("ayar_abc".to_string()));
    for other in ["Bearer hf_abc", "Basic ayar_abc", "ayar_abc", "Bearer", ""] {
        assert_eq!(of(other), None, "{other}");
    }
}
