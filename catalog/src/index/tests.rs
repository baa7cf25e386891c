mod order;
mod replay;
mod services;
mod traffic;
mod workloads;
