"""What BERT models read: pieces of words, by number. The vocabulary is Google's, see NOTICE."""
