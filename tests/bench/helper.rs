//! What nginx's mail proxy needs beside it, each as small as it can be: the HTTP server that
//! judges logins (`auth_http`), and the mail server behind the proxy that has no mail for anybody.

use crate::accounts;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// `helper AUTH-ADDRESS SINK-ADDRESS`: serves both until it is killed.
pub fn main(words: &[&str]) {
    let [auth, sink] = words else {
        panic!("usage: helper AUTH-ADDRESS SINK-ADDRESS")
    };
    crate::process::raise_descriptor_limit();
    let sink_at: SocketAddr = sink.parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let auth = TcpListener::bind(auth).await.unwrap();
        let sink = listen(sink_at);
        tokio::join!(
            accept(auth, move |stream| judge(stream, sink_at)),
            accept(sink, behind_the_proxy)
        );
    });
}

/// With room for thousands that come at once.
fn listen(address: SocketAddr) -> TcpListener {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket.listen(4096).unwrap()
}

async fn accept<F, Fut>(listener: TcpListener, serve: F)
where
    F: Fn(TcpStream) -> Fut,
    Fut: Future<Output = io::Result<()>> + Send + 'static,
{
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let served = serve(stream);
            tokio::spawn(async move { drop(served.await) });
        }
    }
}

/// One question of nginx: headers Auth-Method, Auth-User, Auth-Pass, Auth-Salt.
async fn judge(mut stream: TcpStream, sink: SocketAddr) -> io::Result<()> {
    let mut request = Vec::with_capacity(1024);
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let request = String::from_utf8_lossy(&request);
    let header = |name: &str| {
        request
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            .unwrap_or_default()
    };
    let user = unescape(header("Auth-User"));
    let pass = unescape(header("Auth-Pass"));
    let right = match header("Auth-Method") {
        "plain" => pass == accounts::password(&user),
        "cram-md5" => {
            pass == accounts::digest(&user, unescape(header("Auth-Salt")).trim().as_bytes())
        }
        _ => false,
    };
    let answer = if right {
        format!(
            "HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: {}\r\nAuth-Port: {}\r\n\r\n",
            sink.ip(),
            sink.port()
        )
    } else {
        "HTTP/1.0 200 OK\r\nAuth-Status: wrong\r\n\r\n".to_owned()
    };
    stream.write_all(answer.as_bytes()).await
}

/// nginx escapes spaces and the like as `%20`.
fn unescape(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        let digits = (byte == b'%').then(|| bytes.clone().take(2).collect::<Vec<u8>>());
        match digits
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok())
        {
            Some(value) => {
                plain.push(value);
                bytes.nth(1);
            }
            None => plain.push(byte),
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// A mail server that has nothing for anybody.
async fn behind_the_proxy(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(b"220 sink.test ESMTP\r\n").await?;
    let mut line = Vec::with_capacity(128);
    loop {
        line.clear();
        while !line.ends_with(b"\n") {
            if stream.read_buf(&mut line).await? == 0 {
                return Ok(());
            }
        }
        let answer: &[u8] = match line.get(..4).unwrap_or_default() {
            b"EHLO" => b"250-sink.test\r\n250 ATRN\r\n",
            b"ATRN" => b"453 You have no mail\r\n",
            b"QUIT" => {
                stream.write_all(b"221 Bye\r\n").await?;
                return stream.shutdown().await;
            }
            _ => b"250 OK\r\n",
        };
        stream.write_all(answer).await?;
    }
}
