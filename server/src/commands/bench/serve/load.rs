//! What is asked of the server.

use super::client::Client;
use super::subject::DEPLOYMENT;
use anyhow::bail;
use futures::future::join_all;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::Barrier;

const PATH: &str = "/v1/classify";
const JSON: &str = "application/json";
/// Requests ahead of those that are timed: they open the adapter and warm the caches.
const WARM_UP: usize = 50;
const TEXTS_TOGETHER: usize = 100;
/// Clients that ask while the memory is watched.
const CLIENTS: u64 = 8;

pub struct Load {
    pub address: String,
    pub texts: Vec<String>,
}

/// Latencies, ascending.
pub struct Latencies {
    pub seconds: f64,
    ms: Vec<f64>,
}

impl Latencies {
    pub fn new(mut ms: Vec<f64>, began: Instant) -> Self {
        ms.sort_by(f64::total_cmp);
        Self { seconds: began.elapsed().as_secs_f64(), ms }
    }

    pub fn quantile(&self, share: f64) -> f64 {
        let place = (share * self.ms.len() as f64).ceil() as usize;
        self.ms.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
    }
}

#[derive(Default)]
pub struct Crowd {
    pub answered: usize,
    pub busy: usize,
    pub others: usize,
}

impl Load {
    fn text(&self, number: usize) -> &str {
        &self.texts[number % self.texts.len()]
    }

    fn one(&self, number: usize) -> Vec<u8> {
        json!({ "model": DEPLOYMENT, "text": self.text(number) }).to_string().into_bytes()
    }

    /// One client, one text after the other.
    pub async fn singles(&self, count: usize) -> anyhow::Result<Latencies> {
        let mut client = Client::connect(&self.address).await?;
        for number in 0..WARM_UP {
            client.post(PATH, JSON, &self.one(number)).await?;
        }
        let mut ms = Vec::with_capacity(count);
        let began = Instant::now();
        for number in 0..count {
            let (body, asked) = (self.one(number), Instant::now());
            let (status, answer) = client.post(PATH, JSON, &body).await?;
            ms.push(asked.elapsed().as_secs_f64() * 1000.0);
            require_ok(status, &answer)?;
        }
        Ok(Latencies::new(ms, began))
    }

    /// Rows per second, a hundred texts a request.
    pub async fn batches(&self, rows: usize) -> anyhow::Result<f64> {
        let mut client = Client::connect(&self.address).await?;
        let began = Instant::now();
        let mut done = 0;
        while done < rows {
            let texts: Vec<&str> = (done..done + TEXTS_TOGETHER).map(|number| self.text(number)).collect();
            let body = json!({ "model": DEPLOYMENT, "texts": texts }).to_string();
            let (status, answer) = client.post(PATH, JSON, body.as_bytes()).await?;
            require_ok(status, &answer)?;
            done += TEXTS_TOGETHER;
        }
        Ok(done as f64 / began.elapsed().as_secs_f64())
    }

    /// Rows per second of a CSV file that is sent as a whole.
    pub async fn stream(&self, rows: usize) -> anyhow::Result<f64> {
        let mut writer = csv::Writer::from_writer(b"text\n".to_vec());
        for number in 0..rows {
            writer.write_record([self.text(number)])?;
        }
        let file = writer.into_inner()?;
        let mut client = Client::connect(&self.address).await?;
        let began = Instant::now();
        let path = format!("/v1/classify/stream?model={DEPLOYMENT}");
        let (status, answer) = client.post(&path, "text/csv", &file).await?;
        require_ok(status, &answer)?;
        let answers = csv::Reader::from_reader(answer.as_slice()).records().count();
        if answers != rows {
            bail!("The stream has {answers} answers to {rows} rows.");
        }
        Ok(rows as f64 / began.elapsed().as_secs_f64())
    }

    /// So many connections are made, and when all are there each asks at once.
    pub async fn crowd(&self, connections: usize) -> anyhow::Result<Crowd> {
        let all_there = Arc::new(Barrier::new(connections));
        let asking = (0..connections).map(|number| {
            let (address, body, all_there) = (self.address.clone(), self.one(number), all_there.clone());
            tokio::spawn(async move {
                let client = Client::connect(&address).await;
                all_there.wait().await;
                Ok::<_, anyhow::Error>(client?.post(PATH, JSON, &body).await?.0)
            })
        });
        let mut crowd = Crowd::default();
        for status in join_all(asking).await {
            match status? {
                Ok(200) => crowd.answered += 1,
                Ok(429) => crowd.busy += 1,
                Ok(_) | Err(_) => crowd.others += 1,
            }
        }
        Ok(crowd)
    }

    /// Some clients ask one text after the other until there were so many.
    pub async fn many(&self, requests: u64) -> anyhow::Result<Latencies> {
        let asked = Arc::new(AtomicU64::new(0));
        let began = Instant::now();
        let clients = (0..CLIENTS).map(|_| {
            let asked = asked.clone();
            async move {
                let mut client = Client::connect(&self.address).await?;
                let mut ms = Vec::new();
                loop {
                    let number = asked.fetch_add(1, Ordering::Relaxed);
                    if number >= requests {
                        return Ok::<_, anyhow::Error>(ms);
                    }
                    let (body, at) = (self.one(number as usize), Instant::now());
                    let (status, answer) = client.post(PATH, JSON, &body).await?;
                    ms.push(at.elapsed().as_secs_f64() * 1000.0);
                    require_ok(status, &answer)?;
                }
            }
        });
        let mut ms = Vec::new();
        for of_client in join_all(clients).await {
            ms.extend(of_client?);
        }
        Ok(Latencies::new(ms, began))
    }
}

fn require_ok(status: u16, answer: &[u8]) -> anyhow::Result<()> {
    if status != 200 {
        bail!("The server answered {status}: {}", String::from_utf8_lossy(answer));
    }
    Ok(())
}
