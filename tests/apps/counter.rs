// SPDX-License-Identifier: LGPL-2.1-or-later
//! Threads, channels and an atomic; the main thread writes what arrives to a growing file.
use std::io::Write;
use std::sync::{mpsc, Arc, Mutex};
use std::{env, fs, thread, time};

fn main() {
    let (tx, rx) = mpsc::sync_channel(2);
    let shared = Arc::new(Mutex::new(0u64));
    let counter = Arc::clone(&shared);
    thread::spawn(move || loop {
        let n = {
            let mut guard = counter.lock().unwrap();
            *guard += 1;
            *guard
        };
        tx.send(n).unwrap();
        thread::sleep(time::Duration::from_millis(2));
    });
    for _ in 0..2 {
        thread::spawn(|| {
            let mut v: Vec<u64> = (0..10_000).collect();
            loop {
                v.rotate_left(7);
                assert_eq!(v.iter().sum::<u64>(), 49_995_000);
            }
        });
    }
    let mut out = fs::File::create(env::args().nth(1).unwrap()).unwrap();
    for n in rx {
        writeln!(out, "{n}").unwrap();
    }
}
