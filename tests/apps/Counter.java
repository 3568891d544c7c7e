// SPDX-License-Identifier: LGPL-2.1-or-later
import java.io.FileWriter;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.ConcurrentHashMap;

/** Threads that count, allocate and collect garbage; compiled code and safepoints go on after a restore. */
public class Counter {
	static final ArrayBlockingQueue<Long> queue = new ArrayBlockingQueue<>(4);
	static final ConcurrentHashMap<Long, String> map = new ConcurrentHashMap<>();

	public static void main(String[] args) throws Exception {
		for (int i = 0; i < 3; i++) {
			Thread t = new Thread(() -> {
				for (long n = 0;; n++) {
					map.put(n % 1000, "value " + n);
					if (!map.get(n % 1000).startsWith("value "))
						System.exit(3);
				}
			});
			t.setDaemon(true);
			t.start();
		}
		Thread writer = new Thread(() -> {
			try (FileWriter out = new FileWriter(args[0])) {
				for (;;) {
					out.write(queue.take() + "\n");
					out.flush();
				}
			} catch (Exception e) {
				e.printStackTrace();
				System.exit(4);
			}
		});
		writer.start();
		for (long n = 1;; n++) {
			queue.put(n);
			Thread.sleep(2);
		}
	}
}
