//! Accounts and all that opens them, in a database of each test's own, at a time that the test sets.

use super::*;
use crate::test_support::database;
use domain::error::{ErrorKind, UserError};
use domain::people::access::Need;
use domain::people::{NewApiKey, Scope, Secret};
use std::sync::atomic::{AtomicI64, Ordering};

const START_MS: i64 = 1_700_000_000_000;
const GOOD: &str = "purple tram nine";

/// A clock of the test's own, which stands still until it is set.
macro_rules! clock {
    ($now:ident) => {{
        static NOW: AtomicI64 = AtomicI64::new(START_MS);
        $now = &NOW;
        || NOW.load(Ordering::SeqCst)
    }};
}

fn secret(word: &str) -> Secret {
    Secret(word.to_string())
}

fn account(name: &str) -> NewAccount {
    NewAccount {
        name: name.to_string(),
        email: format!("{name}@example.org"),
        password: secret(GOOD),
        browser: "Test/1.0".to_string(),
    }
}

fn told<T>(outcome: Result<T>) -> UserError {
    outcome.err().expect("it is refused").into()
}

impl People {
    async fn caller(&self, session: &NewSession) -> Option<Caller> {
        self.by_session(&session.token.0).await.unwrap().map(|(caller, _)| caller)
    }

    async fn first(&self) -> (Caller, NewSession) {
        let link = self.setup_link().await.unwrap().unwrap();
        let session = self.set_up(&link.0, account("ann")).await.unwrap();
        (self.caller(&session).await.unwrap(), session)
    }

    async fn joined(&self, by: &Caller, name: &str, role: Role) -> (Caller, NewSession) {
        let token = self.invite(by, role).await.unwrap();
        let session = self.accept_invitation(&token.0, account(name)).await.unwrap();
        (self.caller(&session).await.unwrap(), session)
    }

    async fn tries(&self, email: &str, password: &str, address: &str) -> Result<NewSession> {
        let (password, address) = (secret(password), ClientAddress(address.to_string()));
        let typed = SignInTry { email, password: &password, address: &address, browser: "Test/1.0" };
        self.sign_in(&Caller::nobody(), typed).await
    }

    /// All texts of a table, for what must not stand there.
    async fn everything(&self) -> String {
        let mut words = String::new();
        for table in ["people", "sessions", "one_time_links", "invitations", "api_keys", "sign_in_tries"] {
            let rows = sqlx::query(sqlx::AssertSqlSafe(format!("SELECT * FROM {table}")))
                .fetch_all(&self.db.pool)
                .await
                .unwrap();
            for row in &rows {
                for column in 0..row.len() {
                    if let Ok(Some(word)) = row.try_get::<Option<String>, _>(column) {
                        words += &format!("{table}: {word}\n");
                    }
                }
            }
        }
        words
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_administrator_is_made_by_the_newest_link_alone() {
    let now;
    let (_folder, db) = database().await;
    let people = People::new(db, clock!(now));
    let old = people.setup_link().await.unwrap().unwrap();
    let link = people.setup_link().await.unwrap().unwrap();
    assert_eq!(told(people.check_setup(&old.0).await).kind, ErrorKind::NotFound);
    assert_eq!(told(people.set_up(&old.0, account("eve")).await).kind, ErrorKind::NotFound);
    // What cannot be used leaves the link open.
    let weak = NewAccount { password: secret("ann@example.org"), ..account("ann") };
    assert_eq!(told(people.set_up(&link.0, weak).await).kind, ErrorKind::Invalid);
    now.store(START_MS + DAY_MS - 1, Ordering::SeqCst);
    people.check_setup(&link.0).await.unwrap();
    now.store(START_MS + DAY_MS, Ordering::SeqCst);
    assert!(people.check_setup(&link.0).await.is_err());

    let link = people.setup_link().await.unwrap().unwrap();
    let both = [account("ann"), account("bob")].map(|account| {
        let (people, link) = (people.clone(), link.clone());
        tokio::spawn(async move { people.set_up(&link.0, account).await.is_ok() })
    });
    let mut made = 0;
    for one in both {
        made += usize::from(one.await.unwrap());
    }
    assert_eq!(made, 1, "one link makes one administrator");
    assert!(people.setup_link().await.unwrap().is_none());
    let list = people.list().await.unwrap();
    assert_eq!((list.len(), list[0].role), (1, Role::Administrator));
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_and_out() {
    let now;
    let (_folder, db) = database().await;
    let people = People::new(db, clock!(now));
    let (ann, first) = people.first().await;
    assert_eq!(ann.me().signed_in, Some(("ann".to_string(), Role::Administrator)));
    for (email, password) in [("ann@example.org", "wrong words"), ("eve@example.org", GOOD), ("ann", GOOD), ("", "")] {
        let refused = told(people.tries(email, password, "a").await);
        assert_eq!(refused.kind, ErrorKind::SignIn);
        assert_eq!(refused.message, "No account has this email address with this password.");
    }
    let second = people.tries(" Ann@Example.org", GOOD, "a").await.unwrap();
    assert_ne!(first.token, second.token);
    let on_second = people.caller(&second).await.unwrap();
    assert_eq!(people.sessions(&on_second).await.unwrap().iter().filter(|session| session.is_this).count(), 1);

    // Signing in anew in a browser replaces its session.
    let (password, address) = (secret(GOOD), ClientAddress("a".to_string()));
    let typed = SignInTry { email: "ann@example.org", password: &password, address: &address, browser: "x" };
    let third = people.sign_in(&on_second, typed).await.unwrap();
    assert!(people.caller(&second).await.is_none());
    let on_third = people.caller(&third).await.unwrap();

    // A month from the last use.
    let month = SESSION_LASTS_S * 1000;
    now.store(START_MS + month - 1, Ordering::SeqCst);
    let (_, is_renewed) = people.by_session(&third.token.0).await.unwrap().unwrap();
    assert!(is_renewed);
    assert!(!people.by_session(&third.token.0).await.unwrap().unwrap().1, "once an hour is enough");
    now.store(START_MS + month, Ordering::SeqCst);
    assert!(people.caller(&first).await.is_none(), "it was not used for a month");
    assert!(people.caller(&third).await.is_some());

    people.sign_out(&on_third).await.unwrap();
    assert!(people.caller(&third).await.is_none());
    let one = people.tries("ann@example.org", GOOD, "a").await.unwrap();
    let other = people.tries("ann@example.org", GOOD, "a").await.unwrap();
    let on_one = people.caller(&one).await.unwrap();
    assert!(people.may_still_read(&on_one).await.unwrap());
    people.sign_out_everywhere(&on_one).await.unwrap();
    assert!(!people.may_still_read(&on_one).await.unwrap());
    assert!(people.caller(&one).await.is_none() && people.caller(&other).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_takes_longer_and_longer() {
    let now;
    let (_folder, db) = database().await;
    let people = People::new(db.clone(), clock!(now));
    people.first().await;
    // Unknown accounts are treated like known ones.
    for email in ["ann@example.org", "eve@example.org"] {
        for _ in 0..5 {
            assert_eq!(told(people.tries(email, "wrong words", email).await).kind, ErrorKind::SignIn);
        }
        let refused = told(people.tries(email, GOOD, email).await);
        assert_eq!((refused.kind, refused.retry_after_s), (ErrorKind::Busy, Some(5)), "{email}");
        // From elsewhere as well, and after a restart.
        assert_eq!(told(people.tries(email, GOOD, "elsewhere").await).kind, ErrorKind::Busy);
        let again = People::new(db.clone(), people.clock);
        assert_eq!(told(again.tries(email, GOOD, "elsewhere").await).kind, ErrorKind::Busy);
    }
    now.store(START_MS + 5000, Ordering::SeqCst);
    assert_eq!(told(people.tries("ann@example.org", "wrong words", "b").await).kind, ErrorKind::SignIn);
    assert_eq!(told(people.tries("ann@example.org", GOOD, "b").await).retry_after_s, Some(10));
    now.store(START_MS + 15_000, Ordering::SeqCst);
    people.tries("ann@example.org", GOOD, "b").await.unwrap();
    // And all is forgotten.
    for _ in 0..4 {
        assert_eq!(told(people.tries("ann@example.org", "wrong words", "c").await).kind, ErrorKind::SignIn);
    }
    people.tries("ann@example.org", GOOD, "c").await.unwrap();

    // Many at once are no way around.
    let many: Vec<_> = (0..20)
        .map(|_| {
            let people = people.clone();
            tokio::spawn(async move { told(people.tries("bob@example.org", "wrong words", "d").await).kind })
        })
        .collect();
    let mut looked_at = 0;
    for one in many {
        looked_at += usize::from(one.await.unwrap() == ErrorKind::SignIn);
    }
    assert_eq!(looked_at, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_makes_one_member() {
    let now;
    let (_folder, db) = database().await;
    let people = People::new(db, clock!(now));
    let (ann, _) = people.first().await;
    let token = people.invite(&ann, Role::Editor).await.unwrap();
    let open = people.invitation(&token.0).await.unwrap();
    assert_eq!((open.role, open.invited_by.as_str()), (Role::Editor, "ann"));
    // An address that is somebody's leaves the link open.
    assert_eq!(told(people.accept_invitation(&token.0, account("ann")).await).kind, ErrorKind::Conflict);
    let session = people.accept_invitation(&token.0, account("bob")).await.unwrap();
    assert_eq!(people.caller(&session).await.unwrap().power.unwrap().role, Role::Editor);
    assert_eq!(told(people.accept_invitation(&token.0, account("eve")).await).kind, ErrorKind::NotFound);

    let withdrawn = people.invite(&ann, Role::Viewer).await.unwrap();
    let id = people.invitations().await.unwrap()[0].id;
    people.withdraw_invitation(id).await.unwrap();
    assert!(people.withdraw_invitation(id).await.is_err());
    assert!(people.accept_invitation(&withdrawn.0, account("eve")).await.is_err());
    let late = people.invite(&ann, Role::Administrator).await.unwrap();
    now.store(START_MS + 7 * DAY_MS, Ordering::SeqCst);
    assert!(people.invitations().await.unwrap().is_empty());
    assert!(people.accept_invitation(&late.0, account("eve")).await.is_err());
    assert_eq!(people.list().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_always_an_administrator() {
    let _now;
    let (_folder, db) = database().await;
    let people = People::new(db, clock!(_now));
    let (ann, ann_session) = people.first().await;
    let ann = ann.actor.user_id.unwrap();
    for role in [Role::Viewer, Role::Editor] {
        assert_eq!(told(people.change_role(ann, role).await).kind, ErrorKind::Conflict);
    }
    assert_eq!(told(people.remove(ann).await).kind, ErrorKind::Conflict);
    people.change_role(ann, Role::Administrator).await.unwrap();
    assert_eq!(told(people.change_role(99, Role::Viewer).await).kind, ErrorKind::NotFound);
    assert_eq!(told(people.remove(99).await).kind, ErrorKind::NotFound);

    let caller = people.caller(&ann_session).await.unwrap();
    let (bob, bob_session) = people.joined(&caller, "bob", Role::Viewer).await;
    assert_eq!(told(people.remove(ann).await).kind, ErrorKind::Conflict, "a viewer does not take her place");
    let bob_id = bob.actor.user_id.unwrap();
    people.change_role(bob_id, Role::Administrator).await.unwrap();
    assert_eq!(people.caller(&bob_session).await.unwrap().power.unwrap().role, Role::Administrator);

    // Each demotes the other at the same time: one of them stays.
    let both = [ann, bob_id].map(|person| {
        let people = people.clone();
        tokio::spawn(async move { people.change_role(person, Role::Viewer).await.is_ok() })
    });
    for one in both {
        one.await.unwrap();
    }
    let list = people.list().await.unwrap();
    let administrators: Vec<_> = list.iter().filter(|person| person.role == Role::Administrator).collect();
    assert_eq!(administrators.len(), 1);

    // Whoever leaves opens nothing any more, and their address is free.
    let leaves = list.iter().find(|person| person.role != Role::Administrator).unwrap();
    let session = if leaves.id == ann { &ann_session } else { &bob_session };
    let key = people.make_key(&people.caller(session).await.unwrap(), key_for(&[Scope::Read], None)).await.unwrap();
    people.remove(leaves.id).await.unwrap();
    assert!(people.caller(session).await.is_none());
    assert!(people.by_key(&key.0).await.unwrap().is_none());
    assert_eq!(told(people.tries(&leaves.email, GOOD, "a").await).kind, ErrorKind::SignIn);
    assert_eq!(people.list().await.unwrap().len(), 1);
    let stays = if leaves.id == ann { &bob_session } else { &ann_session };
    people.joined(&people.caller(stays).await.unwrap(), &leaves.name, Role::Viewer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_ends_what_the_old_one_opened() {
    let now;
    let (_folder, db) = database().await;
    let people = People::new(db, clock!(now));
    let (ann, first) = people.first().await;
    let second = people.tries("ann@example.org", GOOD, "a").await.unwrap();
    let here = ClientAddress("a".to_string());
    let change = |old: &str, new: &str| {
        let (people, ann, here, old, new) = (people.clone(), ann.clone(), here.clone(), secret(old), secret(new));
        async move { people.change_password(&ann, &old, &new, &here).await }
    };
    assert_eq!(told(change("wrong words", "another tram ten").await).kind, ErrorKind::Forbidden);
    assert_eq!(told(change(GOOD, "short").await).kind, ErrorKind::Invalid);
    change(GOOD, "another tram ten").await.unwrap();
    assert!(people.caller(&first).await.is_some() && people.caller(&second).await.is_none());
    assert!(people.tries("ann@example.org", GOOD, "a").await.is_err());

    // A lost one: by link, once, for a day; it also ends the pauses.
    for _ in 0..5 {
        let _ = people.tries("ann@example.org", "wrong words", "b").await;
    }
    assert_eq!(told(people.reset_link("eve@example.org").await).kind, ErrorKind::NotFound);
    let replaced = people.reset_link("ann@example.org").await.unwrap();
    let link = people.reset_link("Ann@example.org").await.unwrap();
    assert!(people.check_reset(&replaced.0).await.is_err());
    assert_eq!(people.check_reset(&link.0).await.unwrap(), ("ann".to_string(), "ann@example.org".to_string()));
    assert!(people.check_setup(&link.0).await.is_err(), "it makes no administrator");
    assert!(people.set_up(&link.0, account("eve")).await.is_err());
    assert_eq!(told(people.reset_password(&link.0, &secret("1234567890"), "x").await).kind, ErrorKind::Invalid);
    let fresh = people.reset_password(&link.0, &secret("third tram eleven"), "x").await.unwrap();
    assert!(people.caller(&fresh).await.is_some() && people.caller(&first).await.is_none());
    assert!(people.reset_password(&link.0, &secret("third tram eleven"), "x").await.is_err());
    people.tries("ann@example.org", "third tram eleven", "b").await.unwrap();
    let late = people.reset_link("ann@example.org").await.unwrap();
    now.store(START_MS + DAY_MS, Ordering::SeqCst);
    assert!(people.check_reset(&late.0).await.is_err());
}

fn key_for(scopes: &[Scope], days: Option<u32>) -> NewApiKey {
    NewApiKey { name: "laptop".to_string(), scopes: scopes.to_vec(), days }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_what_it_is_for_and_as_long() {
    let now;
    let (_folder, db) = database().await;
    let people = People::new(db, clock!(now));
    let (ann, _) = people.first().await;
    let (bob, _) = people.joined(&ann, "bob", Role::Viewer).await;
    let key = people.make_key(&bob, key_for(&[Scope::Train, Scope::Read], Some(2))).await.unwrap();
    assert!(key.0.starts_with("ayar_") && key.0.len() == 48);
    let caller = people.by_key(&key.0).await.unwrap().unwrap();
    assert_eq!(caller.actor, Actor { user_id: bob.actor.user_id, name: "bob (key laptop)".to_string() });
    assert_eq!(caller.me().signed_in, None);
    let may = |caller: &Caller, need| caller.power.as_ref().unwrap().allows(need);
    assert!(may(&caller, Need::Read) && !may(&caller, Need::Change), "a viewer's key changes nothing");
    people.change_role(bob.actor.user_id.unwrap(), Role::Editor).await.unwrap();
    let caller = people.by_key(&key.0).await.unwrap().unwrap();
    assert!(may(&caller, Need::Change) && !may(&caller, Need::Classify) && !may(&caller, Need::Own));
    assert!(people.make_key(&caller, key_for(&[Scope::Read], None)).await.is_err(), "a key makes no keys");

    // The last use is written at most once a minute.
    let used = async || people.keys(&bob).await.unwrap()[0].used_at_ms;
    assert_eq!(used().await, Some(START_MS));
    now.store(START_MS + MINUTE_MS - 1, Ordering::SeqCst);
    people.by_key(&key.0).await.unwrap().unwrap();
    assert_eq!(used().await, Some(START_MS));
    now.store(START_MS + MINUTE_MS, Ordering::SeqCst);
    people.by_key(&key.0).await.unwrap().unwrap();
    assert_eq!(used().await, Some(START_MS + MINUTE_MS));

    now.store(START_MS + 2 * DAY_MS - 1, Ordering::SeqCst);
    assert!(people.by_key(&key.0).await.unwrap().is_some());
    now.store(START_MS + 2 * DAY_MS, Ordering::SeqCst);
    assert!(people.by_key(&key.0).await.unwrap().is_none());

    // Nobody revokes another's but an administrator.
    let id = people.keys(&bob).await.unwrap()[0].id;
    assert_eq!(told(people.revoke_key(&ann, id).await).kind, ErrorKind::NotFound);
    assert!(people.keys(&ann).await.unwrap().is_empty() && people.all_keys().await.unwrap().len() == 1);
    now.store(START_MS, Ordering::SeqCst);
    assert!(people.may_still_read(&caller).await.unwrap());
    people.revoke_any_key(id).await.unwrap();
    assert!(!people.may_still_read(&caller).await.unwrap());
    assert!(people.keys(&bob).await.unwrap().is_empty());

    // On an open server keys are nobody's.
    let open = Caller::open();
    let key = people.make_key(&open, key_for(&[Scope::Classify], None)).await.unwrap();
    let caller = people.by_key(&key.0).await.unwrap().unwrap();
    assert_eq!((caller.actor.user_id, may(&caller, Need::Classify), may(&caller, Need::Read)), (None, true, false));
    assert_eq!(people.keys(&open).await.unwrap().len(), 1);
    people.revoke_key(&open, people.keys(&open).await.unwrap()[0].id).await.unwrap();
    assert!(people.by_key(&key.0).await.unwrap().is_none());
    assert!(people.sessions(&open).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_stored_opens_anything() {
    let _now;
    let (_folder, db) = database().await;
    let people = People::new(db, clock!(_now));
    let setup = people.setup_link().await.unwrap().unwrap();
    let mut opening = vec![GOOD.to_string(), setup.0.clone()];
    assert!(!people.everything().await.contains(&setup.0));
    let session = people.set_up(&setup.0, account("ann")).await.unwrap();
    let ann = people.caller(&session).await.unwrap();
    let key = people.make_key(&ann, key_for(&Scope::ALL, None)).await.unwrap();
    opening.push(session.token.0);
    opening.push(key.0["ayar_".len()..].to_string());
    opening.push(people.invite(&ann, Role::Viewer).await.unwrap().0);
    opening.push(people.reset_link("ann@example.org").await.unwrap().0);
    let _ = people.tries("eve@example.org", "wrong words", "a").await;
    let stored = people.everything().await;
    // What is looked through is really there.
    for word in
        ["people: ann@example.org", "people: $argon2id$", "sessions: ", "api_keys: laptop", "invitations: viewer"]
    {
        assert!(stored.contains(word), "{word}\n{stored}");
    }
    assert!(stored.contains("sign_in_tries: ") && !stored.contains("eve@"), "{stored}");
    for word in opening {
        assert!(!stored.contains(&word), "{word}\n{stored}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_is_shown_once_and_to_whoever_made_it() {
    let now;
    let (_folder, db) = database().await;
    let people = People::new(db, clock!(now));
    let (ann, _) = people.first().await;
    let (bob, _) = people.joined(&ann, "bob", Role::Administrator).await;
    let ticket = people.keep_to_show(&ann, secret("word")).unwrap();
    assert_eq!(people.show_once(&bob, &ticket.0), None);
    assert_eq!(people.show_once(&ann, &ticket.0), Some(secret("word")));
    assert_eq!(people.show_once(&ann, &ticket.0), None);
    let late = people.keep_to_show(&ann, secret("word")).unwrap();
    now.store(START_MS + 5 * MINUTE_MS, Ordering::SeqCst);
    assert_eq!(people.show_once(&ann, &late.0), None);
}
