/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/apps/kv/test_remote_threads.c: kv's shards on real threads, for the sanitizers above all.
 *
 * A client on each, with keys of its own, must hear what it hears of one shard alone. Two thirds of the
 * keys are another shard's: small values come back in the caller's buffer, large ones are lent.
 */
#include "runtime/cross/shards.h"
#include "tests/apps/kv/script.h"

#define THREADS 3
#define LAPS    2

/* What the client of each shard says, and is to hear. */
static struct {
	char *script;
	size_t script_bytes;
	struct outcome wanted;
} clients[THREADS];

static int64_t ask_here(void *arg)
{
	unsigned int i = apus_shard_index();
	struct apus_tcp *c = fake_connect();
	int64_t rc = 0;

	fake_send_bytes(c, clients[i].script, clients[i].script_bytes);
	fake_send_end(c);
	while (c->end == FAKE_OPEN && !rc) {
		fake_give_back();
		rc = apus_sleep(100 * APUS_US);
	}
	fake_give_back();
	if (!rc && (c->end != FAKE_CLOSED || c->out_bytes != clients[i].wanted.out_bytes ||
		    memcmp(c->out, clients[i].wanted.out, c->out_bytes)))
		rc = -EBADMSG;
	while (!rc && fake_lent_count > 0)
		fake_give_back();
	fake_free(c);
	return rc;
}

static int64_t serve_threads(void *arg)
{
	struct kv_server *server;
	int64_t rc = kv_server_open(&(struct kv_server_options){0}, &server);

	if (rc)
		return rc;
	rc = apus_on_all(ask_here, NULL, NULL);
	int closed = kv_server_close(server, 10 * APUS_SEC);

	return rc ? rc : closed;
}

static void clients_of_several_threads_hear_what_each_alone_hears(void **state)
{
	has_flushes = false;
	for (uint64_t lap = 0; lap < LAPS; lap++) {
		struct apus_shards *shards;
		uint64_t random = 1000 + lap;

		for (unsigned int i = 0; i < THREADS; i++) {
			prefix = (char)('a' + i);
			make_script(&random);
			clients[i].wanted = run(1, lap + 1);
			clients[i].script = malloc(script_bytes);
			clients[i].script_bytes = script_bytes;
			memcpy(clients[i].script, script, script_bytes);
		}
		assert_int_equal(apus_shards_open(
					 &(struct apus_shards_options){
						 .shard = {.core = -1, .seed = lap + 1},
						 .count = THREADS,
					 },
					 &shards, NULL),
				 0);
		assert_int_equal(apus_shards_run(shards, serve_threads, NULL), 0);
		apus_shards_close(shards);
		for (unsigned int i = 0; i < THREADS; i++) {
			free(clients[i].script);
			free(clients[i].wanted.out);
		}
	}
	prefix = 'k';
	has_flushes = true;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clients_of_several_threads_hear_what_each_alone_hears),
	};

	return test_main(argc, argv, tests);
}
