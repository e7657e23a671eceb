//! What a request may ask for.

use domain::error::UserError;

/// Most texts in one request.
pub const MAX_TEXTS: usize = 1000;
/// Longest text, in bytes.
pub const MAX_TEXT_BYTES: usize = 20_000;

/// # Errors
/// No texts or too many, or one of them is none; the words name it by its number.
pub fn check_texts(texts: &[String]) -> Result<(), UserError> {
    if texts.is_empty() {
        return Err(UserError::invalid("Enter a text to classify."));
    }
    if texts.len() > MAX_TEXTS {
        return Err(UserError::invalid(format!(
            "{} texts are more than the {MAX_TEXTS} that can be classified at once. Send them in parts, or as a stream.",
            texts.len()
        )));
    }
    for (number, text) in (1..).zip(texts) {
        check_text(&format!("Text {number}"), text)?;
    }
    Ok(())
}

/// # Errors
/// The text, which is called `name`, is empty or too long.
pub fn check_text(name: &str, text: &str) -> Result<(), UserError> {
    if text.trim().is_empty() {
        return Err(UserError::invalid(format!("{name} is empty. Remove it or write something.")));
    }
    if text.len() > MAX_TEXT_BYTES {
        return Err(UserError::invalid(format!(
            "{name} is {} bytes long; at most {MAX_TEXT_BYTES} are accepted. Shorten it.",
            text.len()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::error::ErrorKind;

    #[test]
    fn texts_are_checked_and_the_bad_one_is_named() {
        let texts = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<Vec<_>>();
        assert!(check_texts(&texts(&["good", "fine"])).is_ok());
        for (texts, word) in [
            (texts(&[]), "Enter a text"),
            (texts(&["good", " \n"]), "Text 2 is empty"),
            (texts(&["good", "fine", &"x".repeat(MAX_TEXT_BYTES + 1)]), "Text 3 is 20001 bytes"),
            (vec!["x".to_string(); MAX_TEXTS + 1], "1001 texts"),
        ] {
            let error = check_texts(&texts).unwrap_err();
            assert!(error.message.contains(word), "{error}");
            assert_eq!(error.kind, ErrorKind::Invalid);
        }
    }
}
