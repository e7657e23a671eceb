//! The cookie by which a browser is known.
//!
//! Over https its name begins with `__Host-`: browsers take such a cookie from nobody but this very host, and only over
//! https. Whether it is https is told by the `Origin` of the form that signs in, which is right behind a proxy, too.

use leptos::prelude::use_context;
use leptos::server_fn::http_export::HeaderMap;
use leptos::server_fn::http_export::header::{COOKIE, HeaderValue, ORIGIN, SET_COOKIE};
use leptos::server_fn::http_export::request::Parts;
use leptos_axum::ResponseOptions;

const OVER_HTTPS: &str = "__Host-ayar";
const OVER_HTTP: &str = "ayar";

/// What a browser has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCookie {
    pub token: String,
    is_https: bool,
}

impl SessionCookie {
    /// The one of https counts where both are there: the other could be set by a neighbouring host.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let find = |name: &str| {
            let cookies = headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
            let mut pairs =
                cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
            pairs.find(|(known, _)| *known == name).map(|(_, token)| token.to_string())
        };
        let https = find(OVER_HTTPS).map(|token| Self { token, is_https: true });
        https.or_else(|| find(OVER_HTTP).map(|token| Self { token, is_https: false }))
    }

    /// The header that makes the browser keep it for so long.
    pub fn header(&self, lasts_s: i64) -> Option<HeaderValue> {
        let (name, secure) = if self.is_https { (OVER_HTTPS, "; Secure") } else { (OVER_HTTP, "") };
        let token = &self.token;
        HeaderValue::from_str(&format!("{name}={token}; Path=/; Max-Age={lasts_s}; HttpOnly; SameSite=Lax{secure}"))
            .ok()
    }
}

/// Gives the browser that has sent the present request a token to keep.
pub fn keep(token: &str, lasts_s: i64) {
    let is_https = use_context::<Parts>()
        .and_then(|parts| Some(parts.headers.get(ORIGIN)?.to_str().ok()?.starts_with("https://")))
        .unwrap_or(false);
    append(&SessionCookie { token: token.to_string(), is_https }, lasts_s);
}

/// Makes the browser forget what it has kept.
pub fn forget() {
    for is_https in [true, false] {
        append(&SessionCookie { token: String::new(), is_https }, 0);
    }
}

fn append(cookie: &SessionCookie, lasts_s: i64) {
    if let (Some(response), Some(header)) = (use_context::<ResponseOptions>(), cookie.header(lasts_s)) {
        response.append_header(SET_COOKIE, header);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(cookies: &'static [&'static str]) -> Option<SessionCookie> {
        SessionCookie::of(&cookies.iter().map(|cookies| (COOKIE, HeaderValue::from_static(cookies))).collect())
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        assert_eq!(sent(&["theme=dark; ayar=abc"]).unwrap().token, "abc");
        assert_eq!(sent(&["ayar=abc; __Host-ayar=def"]).unwrap().token, "def");
        assert_eq!(sent(&["a=b", "__Host-ayar=def"]).unwrap().token, "def");
        assert_eq!(sent(&["ayarr=abc; x=ayar=d"]), None);
        assert_eq!(sent(&[]), None);
    }

    #[test]
    fn it_is_for_the_browser_alone() {
        let header = |is_https| SessionCookie { token: "abc".to_string(), is_https }.header(60).unwrap();
        assert_eq!(header(false), "ayar=abc; Path=/; Max-Age=60; HttpOnly; SameSite=Lax");
        assert_eq!(header(true), "__Host-ayar=abc; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure");
        assert!(SessionCookie { token: "a\r\nb".to_string(), is_https: true }.header(60).is_none());
    }
}
