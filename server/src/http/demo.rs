//! `/demo/{token}`: a page for everybody who has its link. It classifies one text at a time and can do nothing else; it
//! needs neither the app nor a script, and may stand in a frame of any other page.

use crate::http::api::classify::{ClassifyResponse, Threshold};
use crate::http::api::{ApiRefusal, read_body};
use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, Form, FromRequest, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use domain::deployment::demo::Demo;
use domain::error::UserError;
use serde::Deserialize;
use service::Service;
use service::deployments::Served;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

/// Any page may frame it: that is what it is for. It holds nothing but what everybody with the link may see.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors *";
/// A text and the name of its field, escaped.
const LONGEST_BODY: usize = 16 << 10;

#[derive(Deserialize)]
pub struct Question {
    text: String,
}

/// `GET /demo/{token}`
pub async fn page(Path(token): Path<String>, State(service): State<Service>) -> Response {
    match service.deployments.demo(&token).await {
        Ok(demo) => html(StatusCode::OK, &render(&demo, "", Outcome::None)),
        Err(error) => closed(&ApiRefusal::from(error)),
    }
}

/// `POST /demo/{token}`: the form, sent without a script.
pub async fn answer_form(
    Path(token): Path<String>,
    State(service): State<Service>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let demo = match service.deployments.demo(&token).await {
        Ok(demo) => demo,
        Err(error) => return closed(&error.into()),
    };
    let text = match read_form(&headers, body).await {
        Ok(Question { text }) => text,
        Err(refusal) => return html(refusal.status(), &render(&demo, "", Outcome::Refused(refusal.words()))),
    };
    match service.deployments.classify_demo(&token, &client(address), text.clone()).await {
        Ok(served) => html(StatusCode::OK, &render(&demo, &text, Outcome::Answered(&served))),
        Err(error) => {
            let refusal = ApiRefusal::from(error);
            html(refusal.status(), &render(&demo, &text, Outcome::Refused(refusal.words())))
        }
    }
}

/// `POST /demo/{token}/classify`: what the page's script asks.
pub async fn answer(
    Path(token): Path<String>,
    State(service): State<Service>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ClassifyResponse>, ApiRefusal> {
    let Question { text } = read_form(&headers, body).await?;
    let served = service.deployments.classify_demo(&token, &client(address), text).await?;
    Ok(Json(ClassifyResponse::new("demo".to_string(), &served, Threshold::default())))
}

/// `GET /demo/{token}/brand.css`: its colour, which a strict policy lets stand in no attribute.
pub async fn brand(Path(token): Path<String>, State(service): State<Service>) -> Response {
    match service.deployments.demo(&token).await {
        Ok(Demo { brand, .. }) => {
            let css = format!(":root {{ --brand: {}; --on-brand: {}; }}\n", brand.colour, brand.text_colour());
            ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], css).into_response()
        }
        Err(error) => ApiRefusal::from(error).into_response(),
    }
}

pub async fn file(Path(file): Path<String>) -> Response {
    let (content_type, text) = match file.as_str() {
        "demo.css" => ("text/css; charset=utf-8", include_str!("demo/demo.css")),
        "demo.js" => ("text/javascript; charset=utf-8", include_str!("demo/demo.js")),
        _ => return (StatusCode::NOT_FOUND, "There is no such file.\n").into_response(),
    };
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}

async fn read_form(headers: &HeaderMap, body: Body) -> Result<Question, ApiRefusal> {
    let bytes = read_body(headers, body, LONGEST_BODY).await?;
    let mut request = Request::post("/").body(Body::from(bytes)).map_err(|error| unreadable(&error.to_string()))?;
    *request.headers_mut() = headers.clone();
    let Form(question) =
        Form::from_request(request, &()).await.map_err(|rejection| unreadable(&rejection.body_text()))?;
    Ok(question)
}

fn unreadable(reason: &str) -> ApiRefusal {
    UserError::invalid(format!("The form cannot be read: {reason}")).into()
}

/// Whoever asks, by address; of the newer kind by the part that a household has.
pub fn client(address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => address.to_string(),
            None => format!("{:x?}", &address.segments()[..4]),
        },
    }
}

enum Outcome<'a> {
    None,
    Answered(&'a Served),
    Refused(&'a str),
}

fn html(status: StatusCode, page: &str) -> Response {
    (status, [(header::CONTENT_SECURITY_POLICY, POLICY)], Html(page.to_string())).into_response()
}

fn closed(refusal: &ApiRefusal) -> Response {
    let page = include_str!("demo/closed.html").replace("{{words}}", &escape(refusal.words()));
    html(refusal.status(), &page)
}

fn render(demo: &Demo, text: &str, outcome: Outcome) -> String {
    let answer = match outcome {
        Outcome::None => String::new(),
        Outcome::Refused(words) => format!("<p role=\"alert\" class=\"refused\">{}</p>", escape(words)),
        Outcome::Answered(served) => answer_html(served),
    };
    let logo = match demo.brand.logo_text.as_str() {
        "" => String::new(),
        words => format!("<span class=\"logo\">{}</span>", escape(words)),
    };
    // One pass over the template: what is put in is never looked at again.
    let values = [
        ("title", escape(&demo.brand.title)),
        ("logo", logo),
        ("token", escape(&demo.token)),
        ("text", escape(text)),
        ("answer", answer),
        ("longest", service::deployments::LONGEST_DEMO_TEXT.to_string()),
    ];
    let mut page = String::new();
    let mut parts = include_str!("demo/demo.html").split("{{");
    page.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (name, rest) = part.split_once("}}").unwrap_or(("", part));
        page.push_str(values.iter().find(|(there, _)| *there == name).map_or("", |(_, value)| value));
        page.push_str(rest);
    }
    page
}

fn answer_html(served: &Served) -> String {
    let answer = &served.classification;
    let Some(prediction) = answer.predictions.first() else { return String::new() };
    let name = |label: usize| escape(answer.labels.get(label).map_or("", String::as_str));
    let mut html = format!("<p class=\"label\">{}</p><ul class=\"scores\">", name(prediction.label));
    for (label, probability) in prediction.probabilities.iter().enumerate() {
        let _ = write!(
            html,
            "<li><span>{}</span><meter min=\"0\" max=\"1\" value=\"{probability:.4}\"></meter><span>{:.1} %</span></li>",
            name(label),
            probability * 100.0
        );
    }
    html + "</ul>"
}

fn escape(words: &str) -> String {
    let mut escaped = String::with_capacity(words.len());
    for letter in words.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::deployment::demo::Brand;

    #[test]
    fn what_is_put_in_stays_text() {
        let brand = Brand::parse("<b>{{token}}</b>", "\"x'", "#123456", "a").unwrap();
        let demo = Demo {
            token: "0123".to_string(),
            deployment: "a".to_string(),
            brand,
            created_at_ms: 0,
            expires_at_ms: None,
            revoked_at_ms: None,
        };
        let page = render(&demo, "</textarea><script>", Outcome::Refused("<i>"));
        assert!(page.contains("&lt;b&gt;{{token}}&lt;/b&gt;") && page.contains("&quot;x&#39;"), "{page}");
        assert!(!page.contains("<script>") && !page.contains("<i>") && page.contains("/demo/0123/brand.css"));
    }

    #[test]
    fn clients_are_told_apart_by_what_they_cannot_change_at_will() {
        let of = |address: &str| client(address.parse().unwrap());
        assert_eq!(of("192.0.2.1:5"), of("192.0.2.1:6"));
        assert_eq!(of("[::ffff:192.0.2.1]:5"), of("192.0.2.1:5"));
        assert_eq!(of("[2001:db8:1:2::3]:5"), of("[2001:db8:1:2:9::4]:5"));
        assert_ne!(of("[2001:db8:1:2::3]:5"), of("[2001:db8:1:3::3]:5"));
    }
}
