//! A demo: a page for everybody who has its link, on which texts can be classified and nothing else.

use crate::error::UserError;
use serde::{Deserialize, Serialize};

/// How a demo presents itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brand {
    pub title: String,
    /// Beside the title; may be empty.
    pub logo_text: String,
    /// `#rrggbb`.
    pub colour: String,
}

/// A link to a demo.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Demo {
    /// Nobody can guess it; who has it may classify.
    pub token: String,
    pub deployment: String,
    pub brand: Brand,
    pub created_at_ms: i64,
    /// `None`: until it is revoked.
    pub expires_at_ms: Option<i64>,
    pub revoked_at_ms: Option<i64>,
}

impl Demo {
    pub fn is_open_at(&self, now_ms: i64) -> bool {
        self.revoked_at_ms.is_none() && self.expires_at_ms.is_none_or(|expires| now_ms < expires)
    }
}

const MAX_CHARS: usize = 60;
pub const DEFAULT_COLOUR: &str = "#1f6f5c";

impl Brand {
    /// Trims what was typed; what is left empty gets a usual value.
    ///
    /// # Errors
    /// Words that are too long, or a colour that is none.
    pub fn parse(title: &str, logo_text: &str, colour: &str, deployment: &str) -> Result<Self, UserError> {
        let words = |what: &str, words: &str| {
            let words: String = words.trim().chars().filter(|letter| !letter.is_control()).collect();
            if words.chars().count() <= MAX_CHARS {
                return Ok(words);
            }
            Err(UserError::invalid(format!("The {what} is longer than {MAX_CHARS} characters. Shorten it.")))
        };
        let (title, logo_text) = (words("title", title)?, words("logo text", logo_text)?);
        let colour = match colour.trim() {
            "" => DEFAULT_COLOUR.to_string(),
            colour => colour.to_lowercase(),
        };
        if rgb(&colour).is_none() {
            return Err(UserError::invalid(format!("\"{colour}\" is no colour such as {DEFAULT_COLOUR}.")));
        }
        let title = if title.is_empty() { deployment.to_string() } else { title };
        Ok(Self { title, logo_text, colour })
    }

    /// Black or white, whichever is read more easily on the colour (WCAG's relative luminance).
    pub fn text_colour(&self) -> &'static str {
        let Some(channels) = rgb(&self.colour) else { return "#ffffff" };
        let [r, g, b] = channels.map(|channel| {
            let channel = f64::from(channel) / 255.0;
            if channel <= 0.04045 { channel / 12.92 } else { ((channel + 0.055) / 1.055).powf(2.4) }
        });
        let luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b;
        if 1.05 / (luminance + 0.05) >= (luminance + 0.05) / 0.05 { "#ffffff" } else { "#000000" }
    }
}

fn rgb(colour: &str) -> Option<[u8; 3]> {
    let digits = colour.strip_prefix('#')?;
    if digits.len() != 6 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let channel = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).ok();
    Some([channel(0)?, channel(2)?, channel(4)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brand_is_what_can_be_shown() {
        let brand = Brand::parse("  News\u{7} ", "", "", "headlines").unwrap();
        assert_eq!((brand.title.as_str(), brand.colour.as_str()), ("News", DEFAULT_COLOUR));
        assert_eq!(Brand::parse("", "A", "#FFF000", "headlines").unwrap().title, "headlines");
        for colour in ["red", "#fff", "#12345g", "#1234567", "#ff;}a{x:", "ä#ffff"] {
            assert!(Brand::parse("", "", colour, "a").is_err(), "{colour}");
        }
        assert!(Brand::parse(&"x".repeat(61), "", "", "a").is_err());
    }

    #[test]
    fn text_is_readable_on_the_colour() {
        let on = |colour: &str| Brand::parse("", "", colour, "a").unwrap().text_colour();
        assert_eq!(
            [on("#000000"), on("#1f6f5c"), on("#ffffff"), on("#ffe000")],
            ["#ffffff", "#ffffff", "#000000", "#000000"]
        );
    }
}
