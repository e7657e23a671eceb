//! What names, addresses, passwords and keys may be.

use super::{NewApiKey, Scope};
use crate::error::UserError;

const MAX_NAME_CHARS: usize = 60;
/// The longest address that mail servers take.
const MAX_EMAIL_BYTES: usize = 254;
/// Fewest characters of a password.
pub const MIN_PASSWORD_CHARS: usize = 10;
/// What is longer costs time to hash and helps nobody.
const MAX_PASSWORD_BYTES: usize = 512;
/// The longest that a key is made for; without an end there is no limit.
pub const MAX_KEY_DAYS: u32 = 3650;

/// Passwords of ten characters and more that everybody tries first. Compared without case.
const TRIED_FIRST: &[&str] = &[
    "1234567890",
    "12345678910",
    "123456789a",
    "0123456789",
    "0987654321",
    "1q2w3e4r5t",
    "1q2w3e4r5t6y",
    "1qaz2wsx3edc",
    "abcdefghij",
    "administrator",
    "adminadmin",
    "admin12345",
    "changeme123",
    "football123",
    "iloveyou123",
    "letmein123",
    "password12",
    "password123",
    "password1234",
    "passwordpassword",
    "p@ssw0rd123",
    "princess123",
    "qwerty12345",
    "qwertyuiop",
    "qwertyuiop123",
    "qwerty123456",
    "asdfghjkl123",
    "sunshine123",
    "welcome123",
    "zxcvbnm123",
    "ayarayarayar",
];

/// A person's name, or a key's: trimmed, one line, not empty.
///
/// # Errors
/// Nothing is left of it, or it is too long.
pub fn parse_name(typed: &str) -> Result<String, UserError> {
    let name: String = typed.trim().chars().filter(|letter| !letter.is_control()).collect();
    if name.is_empty() {
        return Err(UserError::invalid("Type a name."));
    }
    if name.chars().count() > MAX_NAME_CHARS {
        return Err(UserError::invalid(format!("The name is longer than {MAX_NAME_CHARS} characters. Shorten it.")));
    }
    Ok(name)
}

/// An address as it is compared: trimmed and in small letters. Whether mail arrives there is not asked: none is sent.
///
/// # Errors
/// It does not look like one.
pub fn parse_email(typed: &str) -> Result<String, UserError> {
    let email = typed.trim().to_lowercase();
    let looks_like_one = email.len() <= MAX_EMAIL_BYTES
        && email.chars().all(|letter| !letter.is_control() && !letter.is_whitespace())
        && email
            .split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'));
    match looks_like_one {
        true => Ok(email),
        false => Err(UserError::invalid("This is no email address such as ann@example.org.")),
    }
}

/// Refuses passwords that are guessed first; which letters the others are made of is nobody's business.
///
/// # Errors
/// It is too short, too long, on everybody's list, or known from the person's own name and address.
pub fn check_password(password: &str, name: &str, email: &str) -> Result<(), UserError> {
    if password.chars().count() < MIN_PASSWORD_CHARS {
        return Err(UserError::invalid(format!(
            "The password is too short: it needs at least {MIN_PASSWORD_CHARS} characters. Three or four words do well."
        )));
    }
    if password.len() > MAX_PASSWORD_BYTES {
        return Err(UserError::invalid(format!("The password is longer than {MAX_PASSWORD_BYTES} bytes. Shorten it.")));
    }
    let lower = password.trim().to_lowercase();
    let mut letters = lower.chars();
    let first = letters.next();
    let is_one_letter = letters.all(|letter| Some(letter) == first);
    let own = [name.trim().to_lowercase(), email.to_lowercase()];
    if is_one_letter || TRIED_FIRST.contains(&lower.as_str()) || own.contains(&lower) {
        return Err(UserError::invalid("This password is among those that are guessed first. Choose another one."));
    }
    Ok(())
}

/// Puts in order what was typed for a key: its name trimmed, each scope once.
///
/// # Errors
/// It has no name or no scope, or days that are none.
pub fn check_key(key: NewApiKey) -> Result<NewApiKey, UserError> {
    let name = parse_name(&key.name)?;
    let scopes: Vec<Scope> = Scope::ALL.into_iter().filter(|scope| key.scopes.contains(scope)).collect();
    if scopes.is_empty() {
        return Err(UserError::invalid("Choose what the key is for: at least one of classify, read and train."));
    }
    if key.days.is_some_and(|days| !(1..=MAX_KEY_DAYS).contains(&days)) {
        return Err(UserError::invalid(format!("A key lasts 1 to {MAX_KEY_DAYS} days, or until it is revoked.")));
    }
    Ok(NewApiKey { name, scopes, days: key.days })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_put_in_order() {
        assert_eq!(parse_name("  Ann\u{7} Lee ").unwrap(), "Ann Lee");
        assert!(parse_name(" \n").is_err() && parse_name(&"x".repeat(61)).is_err());
        assert_eq!(parse_email(" Ann@Example.org ").unwrap(), "ann@example.org");
        for typed in ["", "ann", "@b", "a@", "a b@c", "a@b@c", &format!("a@{}", "b".repeat(260))] {
            assert!(parse_email(typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn passwords_that_are_guessed_first_are_refused() {
        let check = |password: &str| check_password(password, "Annabella Lee", "ann@example.org");
        for password in
            ["short", "123456789", "aaaaaaaaaaaa", "PassWord123", "annabella lee", "ANN@example.org", &"ab".repeat(300)]
        {
            assert!(check(password).is_err(), "{password}");
        }
        for password in ["purple tram nine", "日本語のパスワードです", "Xk3#99qq!z"] {
            check(password).unwrap();
        }
    }

    #[test]
    fn a_key_is_for_something() {
        let key = |scopes: Vec<Scope>, days| NewApiKey { name: " laptop ".to_string(), scopes, days };
        let checked = check_key(key(vec![Scope::Train, Scope::Classify, Scope::Train], Some(30))).unwrap();
        assert_eq!((checked.name.as_str(), checked.scopes), ("laptop", vec![Scope::Classify, Scope::Train]));
        assert!(check_key(key(Vec::new(), None)).is_err());
        assert!(check_key(key(vec![Scope::Read], Some(0))).is_err());
    }
}
