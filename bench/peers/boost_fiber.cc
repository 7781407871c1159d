// SPDX-License-Identifier: BSD-3-Clause
//
// bench/peers/boost_fiber.cc: Boost.Fiber, on one thread with its default scheduler.
//
// A buffered_channel of N holds N - 1, so one place is a channel of 2, and 127 stand for 128.
// Stacks come from a pool. An event is a flag, a mutex and a condition variable.
//
#include "peer.h"

#include <boost/fiber/all.hpp>
#include <boost/version.hpp>

#include <vector>

namespace fibers = boost::fibers;
using channel = fibers::buffered_channel<void *>;

static fibers::pooled_fixedsize_stack stacks(65536);

template <typename Body> static fibers::fiber spawn(Body body)
{
	return fibers::fiber(fibers::launch::post, std::allocator_arg, stacks, body);
}

static int64_t task_yield(uint64_t n, int64_t tasks)
{
	uint64_t rounds = n / static_cast<uint64_t>(tasks);
	std::vector<fibers::fiber> all;

	for (int64_t i = 0; i < tasks; i++)
		all.push_back(spawn([rounds] {
			for (uint64_t k = 0; k < rounds; k++)
				boost::this_fiber::yield();
		}));
	boost::this_fiber::yield();

	int64_t begin_ns = peer_now_ns();

	for (auto &f : all)
		f.join();
	return peer_now_ns() - begin_ns;
}

static int64_t spawn_await(uint64_t n, int64_t together)
{
	std::vector<fibers::fiber> all(static_cast<size_t>(together));
	int64_t begin_ns = peer_now_ns();

	for (uint64_t done = 0; done < n; done += static_cast<uint64_t>(together)) {
		for (auto &f : all)
			f = spawn([] {});
		for (auto &f : all)
			f.join();
	}
	return peer_now_ns() - begin_ns;
}

static int64_t queue_ping_pong(uint64_t n, int64_t)
{
	channel there(2), back(2);
	void *item = &there;
	uint64_t rounds = n / 2;
	auto f = spawn([&] {
		for (uint64_t i = 0; i < rounds; i++) {
			void *got = there.value_pop();

			back.push(got);
		}
	});
	int64_t begin_ns = peer_now_ns();

	for (uint64_t i = 0; i < rounds; i++) {
		there.push(item);
		item = back.value_pop();
	}

	int64_t elapsed_ns = peer_now_ns() - begin_ns;

	f.join();
	return elapsed_ns;
}

static int64_t queue_one_way(uint64_t n, int64_t capacity)
{
	channel there(static_cast<size_t>(capacity));
	auto f = spawn([&] {
		for (uint64_t i = 0; i < n; i++)
			peer_must(there.value_pop() != nullptr);
	});
	int64_t begin_ns = peer_now_ns();

	for (uint64_t i = 0; i < n; i++)
		there.push(&there);
	f.join();
	return peer_now_ns() - begin_ns;
}

static int64_t lock_uncontended(uint64_t n, int64_t)
{
	fibers::mutex lock;
	int64_t begin_ns = peer_now_ns();

	for (uint64_t i = 0; i < n; i++) {
		lock.lock();
		lock.unlock();
	}
	return peer_now_ns() - begin_ns;
}

static int64_t lock_contended(uint64_t n, int64_t tasks)
{
	fibers::mutex lock;
	uint64_t rounds = n / static_cast<uint64_t>(tasks);
	std::vector<fibers::fiber> all;

	for (int64_t i = 0; i < tasks; i++)
		all.push_back(spawn([&] {
			for (uint64_t k = 0; k < rounds; k++) {
				lock.lock();
				boost::this_fiber::yield();
				lock.unlock();
			}
		}));

	int64_t begin_ns = peer_now_ns();

	for (auto &f : all)
		f.join();
	return peer_now_ns() - begin_ns;
}

struct event {
	fibers::mutex lock;
	fibers::condition_variable changed;
	bool is_set = false;

	void set()
	{
		std::unique_lock<fibers::mutex> guard(lock);

		is_set = true;
		changed.notify_all();
	}

	void wait_and_clear()
	{
		std::unique_lock<fibers::mutex> guard(lock);

		changed.wait(guard, [this] { return is_set; });
		is_set = false;
	}
};

static int64_t event_set_wait(uint64_t n, int64_t)
{
	event ping, pong;
	uint64_t rounds = n / 2;
	auto f = spawn([&] {
		for (uint64_t i = 0; i < rounds; i++) {
			ping.wait_and_clear();
			pong.set();
		}
	});
	int64_t begin_ns = peer_now_ns();

	for (uint64_t i = 0; i < rounds; i++) {
		ping.set();
		pong.wait_and_clear();
	}

	int64_t elapsed_ns = peer_now_ns() - begin_ns;

	f.join();
	return elapsed_ns;
}

static int64_t future_await(uint64_t n, int64_t)
{
	fibers::promise<int64_t> ping, pong;
	uint64_t rounds = n / 2;
	auto f = spawn([&] {
		for (uint64_t i = 0; i < rounds; i++) {
			peer_must(ping.get_future().get() == 1);
			ping = fibers::promise<int64_t>();
			pong.set_value(1);
		}
	});
	int64_t begin_ns = peer_now_ns();

	for (uint64_t i = 0; i < rounds; i++) {
		pong = fibers::promise<int64_t>();
		ping.set_value(1);
		peer_must(pong.get_future().get() == 1);
	}

	int64_t elapsed_ns = peer_now_ns() - begin_ns;

	f.join();
	return elapsed_ns;
}

int main(int argc, char **argv)
{
	static const struct peer_operation operations[] = {
		{"task/yield/2", task_yield, 2, 100000},
		{"task/spawn_await", spawn_await, 1, 100000},
		{"queue/ping_pong", queue_ping_pong, 0, 100000},
		{"queue/one_way/128", queue_one_way, 128, 100000},
		{"lock/uncontended", lock_uncontended, 0, 100000},
		{"lock/contended/4", lock_contended, 4, 100000},
		{"event/ping_pong", event_set_wait, 0, 100000},
		{"future/await", future_await, 0, 100000},
		{"gather/10", spawn_await, 10, 100000},
		{nullptr, nullptr, 0, 0},
	};

	return peer_main(argc, argv, "Boost.Fiber " BOOST_LIB_VERSION, operations);
}
