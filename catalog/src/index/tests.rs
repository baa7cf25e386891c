mod order;
mod replay;
mod services;
mod workloads;
