//! Random words that open something, and the hashes that are kept of them.

use crate::error::{Result, ServiceError};
use domain::people::Secret;
use sha2::{Digest, Sha256};

const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62 to this power is more than 2 to the power of 256.
const TOKEN_LETTERS: usize = 43;

/// 256 random bits of the system's, in letters and digits.
///
/// # Errors
/// The system gives no random numbers.
pub fn random_secret() -> Result<Secret> {
    // Bytes from 248 on are thrown away: with them the first letters of the alphabet would come more often.
    let fair = LETTERS.len() * (256 / LETTERS.len());
    let mut word = String::with_capacity(TOKEN_LETTERS);
    while word.len() < TOKEN_LETTERS {
        let bytes = random_bytes::<64>()?.into_iter().map(usize::from).filter(|byte| *byte < fair);
        word.extend(bytes.take(TOKEN_LETTERS - word.len()).map(|byte| char::from(LETTERS[byte % LETTERS.len()])));
    }
    Ok(Secret(word))
}

/// What is stored of it. A single round is enough for what nobody can guess; passwords are hashed otherwise.
pub fn hash(word: &str) -> String {
    Sha256::digest(word.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn random_bytes<const COUNT: usize>() -> Result<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    match rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()) {
        Ok(drawn) if drawn == COUNT => Ok(bytes),
        Ok(_) => Err(ServiceError::Panicked("the system gave too few random numbers".to_string())),
        Err(error) => Err(ServiceError::io("random numbers".as_ref(), error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn tokens_are_long_and_different() {
        let tokens: HashSet<String> = (0..200).map(|_| random_secret().unwrap().0).collect();
        assert_eq!(tokens.len(), 200);
        assert!(tokens.iter().all(|token| token.len() == 43 && token.bytes().all(|byte| LETTERS.contains(&byte))));
        let used: HashSet<char> = tokens.iter().flat_map(|token| token.chars()).collect();
        assert_eq!(used.len(), 62);
        assert_eq!(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
